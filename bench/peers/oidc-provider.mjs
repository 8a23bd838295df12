/** Introspection by oidc-provider with its in-memory adapter, as its quick start has it. */
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const id = 'bench'
const secret = 'bench-client-secret-of-some-length'
const basic = Buffer.from(`${id}:${secret}`).toString('base64')
const server = createServer().listen(0, '127.0.0.1', start)

async function start() {
  const { port } = server.address()
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [
      {
        client_id: id,
        client_secret: secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      devInteractions: { enabled: false },
    },
    cookies: { keys: ['bench'] },
  })
  server.on('request', provider.callback())
  const requests = []
  for (let i = 0; i < 100; i++) requests.push(introspection(await token(port)))
  process.send({ port, requests })
}

async function token(port) {
  const response = await fetch(`http://127.0.0.1:${port}/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${basic}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: 'grant_type=client_credentials',
  })
  const { access_token: token } = await response.json()
  if (typeof token !== 'string') throw new Error(`No token: ${response.status}`)
  return token
}

function introspection(token) {
  const body = `token=${token}`
  return [
    'POST /token/introspection HTTP/1.1',
    'Host: localhost',
    `Authorization: Basic ${basic}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}
