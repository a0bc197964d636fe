"""The MQTT door: a server for MQTT 3.1.1 and 5 whose PUBACK means that the log has committed the message.

Standards: OASIS MQTT 3.1.1 (2014) and MQTT 5.0 (2019); section numbers in this package are those of 5.0.
"""

from headrace.services.gateway.mqtt.core import Core
from headrace.services.gateway.mqtt.door import MqttDoor
from headrace.services.gateway.mqtt.requests import RequestHandler
from headrace.services.gateway.mqtt.users import Users

__all__ = ["Core", "MqttDoor", "RequestHandler", "Users"]
