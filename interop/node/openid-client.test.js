import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as client from 'openid-client'
import { callback, signIn } from './browser.js'
import { logins, secrets } from './servers.js'

const scope = 'openid profile offline_access customers:read'

const ways = {
  'spa, None': { id: 'spa', authentication: client.None(), issuer: logins[0] },
  'acme, ClientSecretBasic': { id: 'acme', authentication: client.ClientSecretBasic(secrets.acme), issuer: logins[1] },
  'acme, ClientSecretPost': { id: 'acme', authentication: client.ClientSecretPost(secrets.acme), issuer: logins[2] },
}

// discover has id_tokens verified by the server's keys as well: over TLS the
// client would leave it at that (OpenID Connect Core §3.1.3.7).
async function discover({ id, authentication, issuer }, algorithm = 'oidc') {
  return client.discovery(new URL(issuer), id, undefined, authentication, {
    algorithm, execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
  })
}

// request makes an authorization request, and what the answer to it is checked by.
async function request(config, more) {
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedNonce: client.randomNonce(), expectedState: client.randomState(),
    idTokenExpected: true, maxAge: 300,
  }
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: callback, scope, state: checks.expectedState, nonce: checks.expectedNonce, max_age: checks.maxAge,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier), code_challenge_method: 'S256', ...more,
  })
  return { address, checks }
}

async function tokensOf(config) {
  const { address, checks } = await request(config)
  const tokens = await client.authorizationCodeGrant(config, await signIn(address), checks)
  return { tokens, checks }
}

async function whoami(config, token) {
  const answer = await client.fetchProtectedResource(config, token, new URL('/oauth2/whoami', config.serverMetadata().issuer), 'GET')
  return answer.json()
}

for (const [name, way] of Object.entries(ways)) {
  for (const algorithm of ['oidc', 'oauth2']) {
    test(`${name}: signs in, by ${algorithm} discovery`, async () => {
      const config = await discover(way, algorithm)
      assert.equal(config.serverMetadata().issuer, way.issuer)
      assert.ok(config.serverMetadata().supportsPKCE())
      const { tokens, checks } = await tokensOf(config)
      assert.equal(tokens.token_type, 'bearer')
      assert.equal(tokens.scope, scope)
      assert.ok(tokens.expiresIn() > 3500)
      assert.equal(tokens.claims().sub, 'user:7')
      assert.equal(tokens.claims().nonce, checks.expectedNonce)
      assert.equal((await whoami(config, tokens.access_token)).username, 'admin')
      const user = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
      assert.deepEqual(user, { sub: 'user:7', name: 'Ada Admin', preferred_username: 'admin' })
    })
  }

  test(`${name}: refreshes`, async () => {
    const config = await discover(way)
    const { tokens } = await tokensOf(config)
    let last = tokens
    for (let i = 0; i < 3; i++) {
      const next = await client.refreshTokenGrant(config, last.refresh_token)
      assert.notEqual(next.refresh_token, last.refresh_token)
      assert.notEqual(next.access_token, last.access_token)
      assert.equal(next.claims().sub, tokens.claims().sub)
      assert.equal(next.claims().auth_time, tokens.claims().auth_time)
      last = next
    }
    await client.fetchUserInfo(config, last.access_token, 'user:7')
  })

  test(`${name}: refreshes for less`, async () => {
    const config = await discover(way)
    const { tokens } = await tokensOf(config)
    const less = await client.refreshTokenGrant(config, tokens.refresh_token, { scope: 'openid' })
    assert.equal(less.scope, 'openid')
    const all = await client.refreshTokenGrant(config, less.refresh_token)
    assert.equal(all.scope, scope)
  })

  test(`${name}: revokes its refresh token, and all that came of it`, async () => {
    const config = await discover(way)
    const { tokens } = await tokensOf(config)
    await client.tokenRevocation(config, tokens.refresh_token, { token_type_hint: 'refresh_token' })
    await client.tokenRevocation(config, tokens.refresh_token) // RFC 7009 §2.2: 200 again
    await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), refused(400))
    await assert.rejects(client.fetchUserInfo(config, tokens.access_token, 'user:7'), challenged)
  })

  test(`${name}: revokes its access token alone`, async () => {
    const config = await discover(way)
    const { tokens } = await tokensOf(config)
    await client.tokenRevocation(config, tokens.access_token, { token_type_hint: 'access_token' })
    await assert.rejects(client.fetchUserInfo(config, tokens.access_token, 'user:7'), challenged)
    const next = await client.refreshTokenGrant(config, tokens.refresh_token)
    await client.fetchUserInfo(config, next.access_token, 'user:7')
  })

  test(`${name}: redeems a code once`, async () => {
    const config = await discover(way)
    const { address, checks } = await request(config)
    const left = await signIn(address)
    const tokens = await client.authorizationCodeGrant(config, left, checks)
    await assert.rejects(client.authorizationCodeGrant(config, left, checks), refused(400))
    await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), refused(400))
  })
}

// System 002 refuses in an envelope of its own, in which the client finds no
// error code: it tells the status.
const refused = (status) => (err) => {
  assert.equal(err.code, 'OAUTH_RESPONSE_IS_NOT_CONFORM')
  assert.equal(err.cause.status, status)
  return true
}

// The guard's challenge is where RFC 6750 §3 has it.
function challenged(err) {
  assert.equal(err.code, 'OAUTH_WWW_AUTHENTICATE_CHALLENGE')
  assert.equal(err.status, 403)
  assert.equal(err.cause[0].scheme, 'bearer')
  assert.equal(err.cause[0].parameters.error, 'invalid_token')
  return true
}

for (const name of ['acme, ClientSecretBasic', 'acme, ClientSecretPost']) {
  test(`${name}: introspects`, async () => {
    const config = await discover(ways[name])
    const { tokens } = await tokensOf(config)
    const access = await client.tokenIntrospection(config, tokens.access_token, { token_type_hint: 'access_token' })
    assert.equal(access.active, true)
    assert.equal(access.client_id, 'acme')
    assert.equal(access.sub, 'user:7')
    assert.equal(access.username, 'admin')
    assert.equal(access.scope, scope)
    assert.equal(access.iss, ways[name].issuer)
    assert.equal(access.exp - access.iat, 3600)
    assert.equal((await client.tokenIntrospection(config, tokens.refresh_token)).active, true)
    assert.deepEqual(await client.tokenIntrospection(config, tokens.id_token), { active: false })
    assert.deepEqual(await client.tokenIntrospection(config, 'made up'), { active: false })

    await client.tokenRevocation(config, tokens.refresh_token)
    assert.deepEqual(await client.tokenIntrospection(config, tokens.access_token), { active: false })
    assert.deepEqual(await client.tokenIntrospection(config, tokens.refresh_token), { active: false })
  })
}

test('a client does not see the tokens of another one', async () => {
  const { tokens } = await tokensOf(await discover(ways['spa, None']))
  const acme = await discover({ ...ways['acme, ClientSecretBasic'], issuer: ways['spa, None'].issuer })
  assert.deepEqual(await client.tokenIntrospection(acme, tokens.access_token), { active: false })
  await assert.rejects(client.tokenRevocation(acme, tokens.access_token), refused(400))
  await assert.rejects(client.refreshTokenGrant(acme, tokens.refresh_token), refused(400))
})

test('a public client may not introspect', async () => {
  const config = await discover(ways['spa, None'])
  const { tokens } = await tokensOf(config)
  await assert.rejects(client.tokenIntrospection(config, tokens.access_token), { code: 'OAUTH_RESPONSE_IS_NOT_CONFORM' })
})

test('a wrong verifier is refused, and the code still good', async () => {
  const config = await discover(ways['spa, None'])
  const { address, checks } = await request(config)
  const left = await signIn(address)
  const wrong = { ...checks, pkceCodeVerifier: client.randomPKCECodeVerifier() }
  await assert.rejects(client.authorizationCodeGrant(config, left, wrong), refused(400))
  await client.authorizationCodeGrant(config, left, checks)
})

test('iss stands in the answer, and is what the client checks it by', async () => {
  const config = await discover(ways['spa, None'])
  assert.equal(config.serverMetadata().authorization_response_iss_parameter_supported, true)
  const { address, checks } = await request(config)
  const left = await signIn(address)
  assert.deepEqual(left.searchParams.getAll('iss'), [config.serverMetadata().issuer])
  for (const change of [(p) => p.delete('iss'), (p) => p.set('iss', 'https://evil.example')]) {
    const changed = new URL(left)
    change(changed.searchParams)
    await assert.rejects(client.authorizationCodeGrant(config, changed, checks), { code: 'OAUTH_INVALID_RESPONSE' })
  }
  await client.authorizationCodeGrant(config, left, checks)
})

test('a person denies', async () => {
  const config = await discover(ways['spa, None'])
  const { address, checks } = await request(config)
  await assert.rejects(client.authorizationCodeGrant(config, await signIn(address, 'deny'), checks), {
    code: 'OAUTH_AUTHORIZATION_RESPONSE_ERROR', error: 'access_denied',
  })
})

for (const [what, more, error] of [
  ['a scope that the client may not have', { scope: 'openid customers:write' }, 'invalid_scope'],
  ['a challenge of the method plain', { code_challenge_method: 'plain' }, 'invalid_request'],
  ['no challenge', { code_challenge: '', code_challenge_method: '' }, 'invalid_request'],
  ['another response type', { response_type: 'code id_token' }, 'unsupported_response_type'],
  ['a login that nobody may see', { prompt: 'none' }, 'login_required'],
  ['a request object', { request: 'e30.e30.', response_type: 'code' }, 'request_not_supported'],
]) {
  test(`the client is told of ${what}`, async () => {
    const config = await discover(ways['spa, None'])
    const { address, checks } = await request(config, more)
    const answer = await fetch(address, { redirect: 'manual' })
    const left = new URL(answer.headers.get('location'))
    assert.equal(left.origin + left.pathname, callback)
    await assert.rejects(client.authorizationCodeGrant(config, left, checks), { code: 'OAUTH_AUTHORIZATION_RESPONSE_ERROR', error })
  })
}
