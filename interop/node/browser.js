import assert from 'node:assert/strict'

// Nothing listens there: the browser is stopped where it would leave.
export const callback = 'http://127.0.0.1:9999/callback'

// signIn is a person at a browser without scripts: it opens the login page, fills
// in the form as admin, decides, and returns where it is sent.
export async function signIn(address, decision = 'approve') {
  const login = await fetch(address, { redirect: 'manual' })
  const page = await login.text()
  assert.equal(login.status, 200, told(page))
  const form = new URLSearchParams({
    ticket: hidden(page, 'ticket'), username: 'admin', password: 'correct horse battery staple', decision,
  })
  const action = new URL(attribute(tag(page, 'form'), 'action') ?? '', address)
  const cookie = login.headers.getSetCookie().map((c) => c.split(';')[0]).join('; ')
  const answer = await fetch(action, { method: 'POST', body: form, headers: { cookie }, redirect: 'manual' })
  assert.equal(answer.status, 303, `${answer.status} ${told(await answer.text())}`)
  const left = new URL(answer.headers.get('location'))
  assert.equal(left.origin + left.pathname, callback)
  return left
}

// told is what a person reads on a page.
function told(page) {
  return page.replace(/<style>.*?<\/style>|<[^>]*>/gs, '').replace(/\s+/g, ' ')
}

function hidden(page, name) {
  const input = page.match(/<input[^>]*>/g)?.find((t) => attribute(t, 'name') === name)
  assert.ok(input, `the form has no ${name}: ${told(page)}`)
  return attribute(input, 'value')
}

function tag(page, name) {
  return page.match(new RegExp(`<${name}[^>]*>`))[0]
}

function attribute(text, name) {
  return text.match(new RegExp(`\\s${name}="([^"]*)"`))?.[1]
}
