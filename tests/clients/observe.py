#!/usr/bin/env python3
"""paho-mqtt as an observer: orders are JSON lines on standard input, what happens are JSON lines on standard output.

Arguments: tls|wss HOST PORT CAFILE USER SECRET 4|5. It ends with its standard input.
"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main():
    way, host, port, cafile, user, secret, version = sys.argv[1:]
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"paho-{way}-{version}",
        protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311,
        transport="websockets" if way == "wss" else "tcp",
        reconnect_on_failure=False,
    )
    client.username_pw_set(user, secret)
    client.tls_set(ca_certs=cafile)
    if way == "wss":
        client.ws_set_options(path="/mqtt")
    client.on_connect = lambda c, u, flags, reason, p: say(on="connect", ok=not reason.is_failure)
    client.on_disconnect = lambda c, u, flags, reason, p: say(on="disconnect", ok=not reason.is_failure)
    client.on_subscribe = lambda c, u, mid, reasons, p: say(on="subscribe", ok=not any(it.is_failure for it in reasons))
    client.on_unsubscribe = lambda c, u, mid, reasons, p: say(on="unsubscribe", ok=True)
    client.on_publish = lambda c, u, mid, reason, p: say(on="publish", ok=not reason.is_failure)
    client.on_message = lambda c, u, it: say(
        on="message", topic=it.topic, payload=it.payload.decode(), qos=it.qos, retain=bool(it.retain)
    )
    try:
        client.connect(host, int(port), keepalive=30)
    except OSError as error:
        say(on="connect", ok=False, why=str(error))
        return
    client.loop_start()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "subscribe":
            client.subscribe(order["topic"], qos=order["qos"])
        elif order["do"] == "unsubscribe":
            client.unsubscribe(order["topic"])
        elif order["do"] == "publish":
            client.publish(order["topic"], order["payload"], qos=order["qos"])
    client.disconnect()
    client.loop_stop()


main()
