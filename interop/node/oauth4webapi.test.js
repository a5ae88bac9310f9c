import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { callback, signIn } from './browser.js'
import { logins, secrets } from './servers.js'

const issuer = logins[3]
const insecure = { [oauth.allowInsecureRequests]: true } // loopback
const scope = 'openid profile offline_access customers:read'

const parties = {
  spa: { client: { client_id: 'spa' }, authentication: oauth.None() },
  acme: { client: { client_id: 'acme', require_auth_time: true }, authentication: oauth.ClientSecretBasic(secrets.acme) },
}

async function discover(algorithm = 'oidc') {
  const url = new URL(issuer)
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...insecure }))
}

async function authorize(as, party) {
  const asked = {
    verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(),
  }
  const address = new URL(as.authorization_endpoint)
  address.search = new URLSearchParams({
    client_id: party.client.client_id, redirect_uri: callback, response_type: 'code', scope, state: asked.state, nonce: asked.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(asked.verifier), code_challenge_method: 'S256',
  })
  return { ...asked, left: await signIn(address) }
}

async function redeem(as, { client, authentication }, asked) {
  const parameters = oauth.validateAuthResponse(as, client, asked.left, asked.state)
  const answer = await oauth.authorizationCodeGrantRequest(as, client, authentication, parameters, callback, asked.verifier, insecure)
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: asked.nonce, requireIdToken: true })
  await oauth.validateApplicationLevelSignature(as, answer, insecure)
  return tokens
}

async function refresh(as, { client, authentication }, token) {
  const answer = await oauth.refreshTokenGrantRequest(as, client, authentication, token, insecure)
  const tokens = await oauth.processRefreshTokenResponse(as, client, answer)
  await oauth.validateApplicationLevelSignature(as, answer, insecure)
  return tokens
}

async function userInfo(as, { client }, token) {
  return oauth.processUserInfoResponse(as, client, 'user:7', await oauth.userInfoRequest(as, client, token, insecure))
}

async function introspect(as, { client, authentication }, token) {
  const answer = await oauth.introspectionRequest(as, client, authentication, token, insecure)
  return oauth.processIntrospectionResponse(as, client, answer)
}

async function revoke(as, { client, authentication }, token) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token, insecure))
}

// leftHalf is at_hash (OpenID Connect Core §3.1.3.6), which this client does not
// check where the token came from the token endpoint.
async function leftHalf(token) {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))
  return Buffer.from(hash.slice(0, 16)).toString('base64url')
}

for (const algorithm of ['oidc', 'oauth2']) {
  test(`discovers by ${algorithm}`, async () => {
    const as = await discover(algorithm)
    assert.equal(as.issuer, issuer)
    assert.equal(as.token_endpoint, `${issuer}/oauth2/tokens`)
    assert.deepEqual(as.response_types_supported, ['code'])
    assert.deepEqual(as.code_challenge_methods_supported, ['S256'])
    assert.equal(as.authorization_response_iss_parameter_supported, true)
  })
}

for (const [id, party] of Object.entries(parties)) {
  test(`${id}: signs in`, async () => {
    const as = await discover()
    const asked = await authorize(as, party)
    const tokens = await redeem(as, party, asked)
    assert.equal(tokens.token_type, 'bearer')
    assert.equal(tokens.scope, scope)
    assert.equal(tokens.expires_in, 3600)
    const claims = oauth.getValidatedIdTokenClaims(tokens)
    assert.equal(claims.sub, 'user:7')
    assert.equal(claims.nonce, asked.nonce)
    assert.equal(claims.at_hash, await leftHalf(tokens.access_token))
    assert.deepEqual(await userInfo(as, party, tokens.access_token), { sub: 'user:7', name: 'Ada Admin', preferred_username: 'admin' })
  })

  test(`${id}: has a JWT that a resource server of RFC 9068 takes`, async () => {
    const as = await discover()
    const tokens = await redeem(as, party, await authorize(as, party))
    const call = (token) => new Request('http://127.0.0.1/', { headers: { authorization: `Bearer ${token}` } })
    const claims = await oauth.validateJwtAccessToken(as, call(tokens.access_token), `${issuer}/002`, insecure)
    assert.equal(claims.client_id, id)
    assert.equal(claims.sub, 'user:7')
    assert.equal(claims.scope, scope)
    await assert.rejects(oauth.validateJwtAccessToken(as, call(tokens.access_token), `${issuer}/000`, insecure))
    await assert.rejects(oauth.validateJwtAccessToken(as, call(tokens.id_token), id, insecure))
  })

  test(`${id}: refreshes`, async () => {
    const as = await discover()
    const first = await redeem(as, party, await authorize(as, party))
    const second = await refresh(as, party, first.refresh_token)
    const third = await refresh(as, party, second.refresh_token)
    assert.equal(new Set([first, second, third].map((t) => t.refresh_token)).size, 3)
    const [before, after] = [first, third].map(oauth.getValidatedIdTokenClaims)
    for (const claim of ['iss', 'sub', 'aud', 'azp', 'auth_time']) assert.deepEqual(after[claim], before[claim], claim)
    assert.equal(after.at_hash, await leftHalf(third.access_token))
    await userInfo(as, party, third.access_token)
  })

  // Within the grace a lost answer costs nothing: the same successor comes again.
  test(`${id}: refreshes with one token in several tabs`, async () => {
    const as = await discover()
    const first = await redeem(as, party, await authorize(as, party))
    const tabs = await Promise.all(Array.from({ length: 8 }, () => refresh(as, party, first.refresh_token)))
    assert.equal(new Set(tabs.map((t) => t.refresh_token)).size, 1)
    await Promise.all(tabs.map((t) => userInfo(as, party, t.access_token)))
    await refresh(as, party, tabs[0].refresh_token)
  })

  test(`${id}: revokes`, async () => {
    const as = await discover()
    const tokens = await redeem(as, party, await authorize(as, party))
    await revoke(as, party, 'made up')
    await userInfo(as, party, tokens.access_token)
    await revoke(as, party, tokens.refresh_token)
    await assert.rejects(userInfo(as, party, tokens.access_token), { code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' })
    await assert.rejects(refresh(as, party, tokens.refresh_token), { code: 'OAUTH_RESPONSE_IS_NOT_CONFORM' })
  })

  test(`${id}: checks state and iss`, async () => {
    const as = await discover()
    const asked = await authorize(as, party)
    assert.deepEqual(asked.left.searchParams.getAll('iss'), [issuer])
    for (const [name, value] of [['iss', 'https://evil.example'], ['state', 'made up']]) {
      const left = new URL(asked.left)
      left.searchParams.set(name, value)
      await assert.rejects(redeem(as, party, { ...asked, left }), { code: 'OAUTH_INVALID_RESPONSE' })
    }
    await redeem(as, party, asked)
  })

  test(`${id}: checks the nonce`, async () => {
    const as = await discover()
    const asked = await authorize(as, party)
    await assert.rejects(redeem(as, party, { ...asked, nonce: oauth.generateRandomNonce() }), { code: 'OAUTH_JWT_CLAIM_COMPARISON_FAILED' })
  })
}

test('acme: introspects', async () => {
  const as = await discover()
  const tokens = await redeem(as, parties.acme, await authorize(as, parties.acme))
  const seen = await introspect(as, parties.acme, tokens.access_token)
  assert.deepEqual([seen.active, seen.client_id, seen.sub, seen.scope, seen.iss], [true, 'acme', 'user:7', scope, issuer])
  assert.equal((await introspect(as, parties.acme, tokens.refresh_token)).active, true)
  await revoke(as, parties.acme, tokens.refresh_token)
  assert.deepEqual(await introspect(as, parties.acme, tokens.access_token), { active: false })
  assert.deepEqual(await introspect(as, parties.acme, tokens.refresh_token), { active: false })
})
