"""The IoT gateway: devices on one side, the log on the other. Nothing is acknowledged before it is committed."""
