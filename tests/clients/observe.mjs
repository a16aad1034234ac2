// mqtt.js as an observer: orders are JSON lines on standard input, what happens are JSON lines on standard output.
// Arguments: tls|wss HOST PORT CAFILE USER SECRET 4|5. It ends with its standard input.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

// The folder that holds node_modules: this file lies elsewhere.
const mqtt = createRequire(process.env.CLIENTS + '/')('mqtt')
const [way, host, port, cafile, username, password, version] = process.argv.slice(2)
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const url = way === 'wss' ? `wss://${host}:${port}/mqtt` : `mqtts://${host}:${port}`
const client = mqtt.connect(url, {
  ca: readFileSync(cafile),
  clientId: `mqttjs-${way}-${version}`,
  username,
  password,
  protocolVersion: Number(version),
  reconnectPeriod: 0,
  keepalive: 30,
})
let connected = false
client.on('connect', () => {
  connected = true
  say({ on: 'connect', ok: true })
})
client.on('error', (error) => say({ on: connected ? 'error' : 'connect', ok: false, why: error.message }))
client.on('close', () => say({ on: 'disconnect', ok: false }))
client.on('message', (topic, payload, { qos, retain }) => {
  say({ on: 'message', topic, payload: payload.toString(), qos, retain })
})

for await (const line of createInterface({ input: process.stdin })) {
  const { do: verb, topic, payload, qos } = JSON.parse(line)
  if (verb === 'subscribe') {
    client.subscribe(topic, { qos }, (error, granted) => {
      const ok = !error && granted.length > 0 && granted.every((it) => it.qos < 0x80)
      say({ on: 'subscribe', ok })
    })
  } else if (verb === 'unsubscribe') {
    client.unsubscribe(topic, (error) => say({ on: 'unsubscribe', ok: !error }))
  } else if (verb === 'publish') {
    client.publish(topic, payload, { qos }, (error) => say({ on: 'publish', ok: !error }))
  }
}
client.end()
