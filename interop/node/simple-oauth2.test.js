import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClientCredentials } from 'simple-oauth2'
import { both, documented, secrets } from './servers.js'

const systems = {
  '000 OAuth': { tokenPath: '/adminczar/api/v1/oauth2/token', route: '/adminczar/api/v1/whoami', json: true },
  '001 Data': { tokenPath: '/oauth/access_token', route: '/v2/products', nested: (t) => t.data.access_token },
  '001 Data both': { base: both, tokenPath: '/oauth/access_token', route: '/v2/products' },
  '002 Meta': { tokenPath: '/oauth2/tokens', route: '/oauth2/whoami', scope: 'customers:read' },
  '003 Coded': { tokenPath: '/v1/auth/token', route: '/v1/whoami', nested: (t) => t.data.access_token },
  '004 Content': { tokenPath: '/auth/token', route: '/event/whoami', json: true, nested: (t) => t.content.jwt_token },
}

function client(system, id, secret, options) {
  return new ClientCredentials({
    client: { id, secret },
    auth: { tokenHost: system.base ?? documented, tokenPath: system.tokenPath },
    options,
  })
}

async function get(system, token) {
  const answer = await fetch((system.base ?? documented) + system.route, { headers: { Authorization: `Bearer ${token}` } })
  return { status: answer.status, body: await answer.json() }
}

// Its secret has a colon; its id has none, or no Basic header could hold it raw.
const reserved = 'od+d%41 id'

const form = [
  ['header, strict', 'acme', { authorizationMethod: 'header', credentialsEncodingMode: 'strict' }],
  ['header, strict', reserved, { authorizationMethod: 'header', credentialsEncodingMode: 'strict' }],
  ['header, loose', 'acme', { authorizationMethod: 'header', credentialsEncodingMode: 'loose' }],
  ['header, loose', reserved, { authorizationMethod: 'header', credentialsEncodingMode: 'loose' }],
  ['body', 'acme', { authorizationMethod: 'body' }],
  ['body', reserved, { authorizationMethod: 'body' }],
]
const json = [
  ['JSON body', 'acme', { authorizationMethod: 'body', bodyFormat: 'json' }],
  ['JSON body', reserved, { authorizationMethod: 'body', bodyFormat: 'json' }],
  ['JSON and header', 'acme', { authorizationMethod: 'header', bodyFormat: 'json' }],
]

for (const [name, system] of Object.entries(systems)) {
  for (const [how, id, options] of system.json ? [...form, ...json] : form) {
    test(`${name}: ${how}, ${id}`, async () => {
      const got = await client(system, id, secrets[id], options).getToken(system.scope ? { scope: system.scope } : {})
      const token = system.nested ? system.nested(got.token) : got.token.access_token
      if (system.nested) {
        // It keeps what it got, finds no member of its own, and never sees it expire.
        assert.equal(got.token.access_token, undefined)
        assert.equal(got.token.expires_at, undefined)
        assert.equal(got.expired(), false)
      } else {
        assert.equal(got.token.token_type, name === '002 Meta' ? 'bearer' : 'Bearer')
        assert.equal(got.expired(), false)
        assert.equal(got.expired(3601), true)
      }
      const answer = await get(system, token)
      assert.equal(answer.status, 200)
      if (answer.body.client_id !== undefined) assert.equal(answer.body.client_id, id)
    })
  }
  if (!system.json) {
    test(`${name}: takes no JSON body`, async () => {
      const jsonBody = { authorizationMethod: 'body', bodyFormat: 'json' }
      await assert.rejects(client(system, 'acme', secrets.acme, jsonBody).getToken({}), (err) => err.output.statusCode === 400)
    })
  }
}

const refused = {
  '000 OAuth': [401, { error: 'invalid_client', error_description: 'Client authentication failed' }],
  '001 Data': [401, { errors: [{ title: 'Unauthorized', status: '401' }] }],
  '002 Meta': [403, undefined],
  '003 Coded': [401, { error: { code: '401021', code_reason: 'invalid_client', message: 'Invalid client_id, client_secret, or session_key' } }],
  '004 Content': [401, { code: 400001, message: 'Incorrect client secret' }],
}

for (const [name, [status, body]] of Object.entries(refused)) {
  test(`${name}: a wrong secret`, async () => {
    await assert.rejects(client(systems[name], 'acme', 'wrong').getToken({}), (err) => {
      assert.equal(err.output.statusCode, status)
      if (body) assert.deepEqual(err.data.payload, body)
      return true
    })
  })
}
