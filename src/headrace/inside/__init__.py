"""Programs that run inside the sandbox: they open files of users, and may be fooled by them. Nobody imports them."""
