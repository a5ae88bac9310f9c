import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gateway, MemoryStorageFactory } from '@moltin/sdk'
import { both, documented, secrets } from './servers.js'

console.info = () => {} // the SDK tells the state of its token there

function shop(base, options) {
  const url = new URL(base)
  const requests = []
  const custom_fetch = async (target, init) => {
    const answer = await fetch(target, init)
    requests.push(`${init.method} ${new URL(target).pathname} ${answer.status}`)
    return answer
  }
  const storage = new MemoryStorageFactory()
  const sdk = gateway({ host: url.host, protocol: 'http', storage, custom_fetch, retryDelay: 1, retryJitter: 1, ...options })
  return { sdk, storage, requests }
}

const acme = { client_id: 'acme', client_secret: secrets.acme }
const storefront = { client_id: 'storefront' }

for (const [identifier, credentials] of [['client_credentials', acme], ['implicit', storefront]]) {
  test(`${identifier}: authenticates and reads products`, async () => {
    const { sdk, storage, requests } = shop(both, credentials)
    const token = await sdk.Authenticate()
    assert.match(token.access_token, /^[0-9a-f]{40}$/)
    assert.equal(token.identifier, identifier)
    assert.equal(token.token_type, 'Bearer')
    assert.equal(token.expires_in, 3600)
    assert.ok(Math.abs(token.expires - Date.now() / 1000 - 3600) < 60)
    assert.equal(JSON.parse(storage.get('moltinCredentials')).access_token, token.access_token)

    assert.deepEqual(await sdk.Products.All(), { data: [] })
    assert.deepEqual(await sdk.ShopperCatalog.Products.All(), { data: [] })
    assert.deepEqual(requests, ['POST /oauth/access_token 200', 'GET /v2/products 200', 'GET /catalog/products 200'])
  })
}

test('authenticates by itself before the first request', async () => {
  const { sdk, requests } = shop(both, acme)
  assert.deepEqual(await sdk.Products.Limit(10).All(), { data: [] })
  assert.deepEqual(requests, ['POST /oauth/access_token 200', 'GET /v2/products 200'])
})

test('client_credentials: writes', async () => {
  assert.deepEqual(await shop(both, acme).sdk.Products.Create({ name: 'a' }), { data: [] })
})

test('implicit: may not write', async () => {
  await assert.rejects(shop(both, storefront).sdk.Products.Create({ name: 'a' }), {
    errors: [{ status: 403, title: 'Forbidden' }],
  })
})

test('a refused token is replaced', async () => {
  const { sdk, storage, requests } = shop(both, acme)
  storage.set('moltinCredentials', JSON.stringify({ client_id: 'acme', access_token: '0'.repeat(40), expires: Date.now() / 1000 + 60 }))
  assert.deepEqual(await sdk.Products.All(), { data: [] })
  assert.deepEqual(requests, ['GET /v2/products 401', 'POST /oauth/access_token 200', 'GET /v2/products 200'])
})

test('a wrong secret', async () => {
  await assert.rejects(shop(both, { ...acme, client_secret: 'wrong' }).sdk.Authenticate(), {
    errors: [{ title: 'Unauthorized', status: '401' }],
  })
})

test('a limit is waited for', async () => {
  const { sdk, requests } = shop(both, { client_id: 'slow', client_secret: secrets.slow, fetchMaxAttempts: 2 })
  for (let i = 0; i < 3; i++) await sdk.Products.All()
  await assert.rejects(sdk.Products.All(), { errors: [{ status: 429, title: 'Too Many Requests' }] })
  assert.deepEqual(requests.slice(-2), ['GET /v2/products 429', 'GET /v2/products 429'])
})

test('the documented shape hides the token from the SDK', async () => {
  const { sdk, storage, requests } = shop(documented, { ...acme, fetchMaxAttempts: 2 })
  const token = await sdk.Authenticate()
  assert.equal(token.access_token, undefined)
  assert.match(token.data.access_token, /^[0-9a-f]{40}$/)
  assert.equal(storage.get('moltinCredentials'), null)
  requests.length = 0
  await assert.rejects(sdk.Products.All(), { errors: [{ status: 401, title: 'Unable to validate access token' }] })
  assert.deepEqual(requests, [
    'POST /oauth/access_token 200', 'GET /v2/products 401',
    'POST /oauth/access_token 200', 'GET /v2/products 401',
  ])
})
