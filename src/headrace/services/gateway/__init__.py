"""The gateway: device messages in, committed before they are acknowledged; forecasts and alerts out."""
