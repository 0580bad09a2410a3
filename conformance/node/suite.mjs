// Judges what modelog sends with the libraries that receivers use: signatures by
// standardwebhooks and svix, CloudEvents by cloudevents, the live stream by eventsource
// through a line that breaks, and the OpenAPI document by redocly.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createPublicKey, verify as verifySignature } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'

import { HTTP } from 'cloudevents'
import { EventSource } from 'eventsource'
import { Webhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'

const modelog = process.env.MODELOG
const data = mkdtempSync(path.join(tmpdir(), 'modelog-node-'))
let registry, url

before(async () => {
  registry = spawn(modelog, ['serve', '--listen', '127.0.0.1:0', '--data', data, '--webhook-allow-http', '--webhook-allow-cidr', '127.0.0.0/8'])
  url = await new Promise((resolve, reject) => {
    let log = ''
    registry.stderr.on('data', (chunk) => {
      log += chunk
      const found = log.match(/"msg":"listening","url":"([^"]+)"/)
      if (found) resolve(found[1])
    })
    registry.on('exit', () => reject(new Error(log)))
  })
})

after(async () => {
  const ended = new Promise((resolve) => registry.on('exit', resolve))
  registry.kill('SIGTERM')
  await ended
  rmSync(data, { recursive: true })
})

async function call (method, at, body) {
  const answer = await fetch(url + at, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${at}: ${answer.status} ${text}`)
  return text && JSON.parse(text)
}

// receiver keeps what it is sent. answers has what it answers first, in their order,
// before it answers 204.
async function receiver (t, answers = []) {
  const got = []
  let arrived = () => {}
  const server = http.createServer((request, response) => {
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      const post = request.method === 'POST' // else somebody asks whether it wants deliveries
      response.writeHead((post && answers.shift()) || 204).end()
      if (!post) return
      got.push({ headers: request.headers, body: Buffer.concat(chunks).toString() })
      arrived()
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve) }))
  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    got,
    async wait (n) {
      while (got.length < n) await new Promise((resolve) => { arrived = resolve })
      return got[n - 1]
    }
  }
}

async function subscribe (t, sink, more = {}) {
  const made = await call('POST', '/v1/subscriptions', { protocol: 'HTTP', sink, types: ['dev.modelog.model.registered.v1'], ...more })
  t.after(() => call('DELETE', `/v1/subscriptions/${made.id}`))
  return made
}

let models = 0
const register = () => call('POST', '/v1/models', { name: `m${++models}` })

const flipped = (text) => text.replace('registered', 'registerec')

// verified has both libraries verify a delivery, and refuse what isn't the delivery.
function verified ({ headers, body }, ...secrets) {
  for (const secret of secrets) {
    for (const webhook of [new Webhook(secret), new SvixWebhook(secret)]) {
      assert.doesNotThrow(() => webhook.verify(body, headers))
      assert.throws(() => webhook.verify(flipped(body), headers))
      assert.throws(() => webhook.verify(body, { ...headers, 'webhook-id': 'evt_00000000000000000001' }))
      assert.throws(() => webhook.verify(body, { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 1) }))
    }
  }
}

test('a delivery is signed as Standard Webhooks has it, and is a CloudEvent', async (t) => {
  const at = await receiver(t)
  const { secret } = await subscribe(t, at.url)
  const model = await register()
  const delivery = await at.wait(1)
  verified(delivery, secret)
  const event = HTTP.toEvent(delivery)
  assert.equal(event.validate(), true)
  assert.equal(event.type, 'dev.modelog.model.registered.v1')
  assert.equal(event.subject, `models/${model.name}`)
  assert.equal(event.data.model_id, model.id)
  assert.equal(delivery.headers['webhook-id'], `evt_${event.sequence}`)
})

test('what failed comes again under its id', async (t) => {
  const at = await receiver(t, [204, 500])
  const { secret } = await subscribe(t, at.url)
  await register()
  await at.wait(1)
  await register()
  const [first, again] = [await at.wait(2), await at.wait(3)]
  verified(first, secret)
  verified(again, secret)
  assert.equal(first.headers['webhook-id'], again.headers['webhook-id'])
  assert.equal(first.body, again.body)
})

test('both secrets hold after a rotation', async (t) => {
  const at = await receiver(t)
  const { id, secret } = await subscribe(t, at.url)
  const next = await call('POST', `/v1/subscriptions/${id}/rotate-secret`, { valid_for: '1h' })
  assert.notEqual(next.secret, secret)
  await register()
  verified(await at.wait(1), secret, next.secret)
})

test('a key pair signs too', async (t) => {
  const at = await receiver(t)
  const { secret } = await subscribe(t, at.url, { signature: 'v1a' })
  assert.match(secret, /^whpk_/)
  await register()
  const { headers, body } = await at.wait(1)
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(secret.slice(5), 'base64')])
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const signature = Buffer.from(headers['webhook-signature'].slice('v1a,'.length), 'base64')
  const text = (body) => Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`)
  assert.equal(verifySignature(null, text(body), key, signature), true)
  assert.equal(verifySignature(null, text(flipped(body)), key, signature), false)
})

test('an EventSource sees every event once, whatever becomes of its line', async (t) => {
  const lines = new Set()
  let cuts = 0
  const proxy = net.createServer((client) => {
    const server = net.connect(Number(new URL(url).port), '127.0.0.1')
    let left = 2000 + Math.floor(Math.random() * 8000) // bytes until the line breaks
    lines.add(client).add(server)
    for (const [one, other] of [[client, server], [server, client]]) {
      one.on('error', () => {}).on('close', () => other.destroy())
    }
    client.on('data', (chunk) => server.write(chunk))
    server.on('data', (chunk) => {
      client.write(chunk.subarray(0, left))
      if ((left -= chunk.length) <= 0) {
        cuts++
        client.end()
        server.destroy()
      }
    })
  })
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.after(() => { lines.forEach((line) => line.destroy()); proxy.close() })
  const { sequence: start } = await register()
  const seen = []
  const source = new EventSource(`http://127.0.0.1:${proxy.address().port}/v1/events/stream?after=${start}`)
  t.after(() => source.close())
  const count = 60
  const all = new Promise((resolve) => {
    source.addEventListener('dev.modelog.model.registered.v1', (event) => {
      seen.push(Number(event.lastEventId))
      assert.equal(Number(JSON.parse(event.data).sequence), Number(event.lastEventId))
      if (Number(event.lastEventId) === start + count) resolve()
    })
  })
  let last = start
  for (let i = 0; i < count; i++) last = (await register()).sequence
  await all
  assert.deepEqual(seen, Array.from({ length: count }, (_, i) => start + 1 + i))
  assert.equal(last, start + count)
  assert.ok(cuts > 2, `the line broke ${cuts} times`)
})

test('the OpenAPI document is one', () => {
  const root = path.join(import.meta.dirname, '..', '..')
  execFileSync(path.join(import.meta.dirname, 'node_modules', '.bin', 'redocly'), ['lint', path.join(root, 'schemas', 'openapi.json')], {
    env: { ...process.env, REDOCLY_TELEMETRY: 'off', CI: 'true' }, stdio: ['ignore', 'pipe', 'pipe']
  })
})
