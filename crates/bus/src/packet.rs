//! MQTT packets, 3.1.1 and 5, for the gate: the codecs of rumqttc with their holes closed.
