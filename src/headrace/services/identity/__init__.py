"""Identity: companies, their people, devices and services; signing in and out. The only service that gives out tokens."""
