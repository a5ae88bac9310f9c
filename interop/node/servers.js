import { readFileSync } from 'node:fs'

// run.sh starts the servers: one whose system 001 answers in both shapes, and
// one that answers as documented, and some more of these where people sign in.
export const both = fromEnvironment('TOKENBOOTH_BOTH')
export const documented = fromEnvironment('TOKENBOOTH_DOCUMENTED')
export const logins = fromEnvironment('TOKENBOOTH_LOGINS').split(' ')

function fromEnvironment(name) {
  const url = process.env[name]
  if (!url) throw new Error(`${name} is not set: run interop/run.sh`)
  return url
}

const fixtures = new URL('fixtures.json', import.meta.url)

export const secrets = Object.fromEntries(
  JSON.parse(readFileSync(fixtures, 'utf8')).clients.map((c) => [c.id, c.secret]),
)
