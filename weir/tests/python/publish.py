"""Publishes 100 messages at QoS 1 with paho-mqtt, once by MQTT 3.1.1 and once by 5; fails if one is not acknowledged."""

import json
import sys

import paho.mqtt.client as mqtt

port = int(sys.argv[1])
for name, protocol in (("paho-311", mqtt.MQTTv311), ("paho-5", mqtt.MQTTv5)):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [
        client.publish(f"hall/{name}/telemetry", json.dumps([{"n": "temperature", "v": 20 + i / 8},
                                                             {"n": "boot", "v": 1}, {"n": "seq", "v": i}]), qos=1)
        for i in range(100)
    ]
    for message in sent:
        message.wait_for_publish(timeout=30)
        assert message.is_published(), f"{name}: message {message.mid} was not acknowledged"
    client.disconnect()
    client.loop_stop()
