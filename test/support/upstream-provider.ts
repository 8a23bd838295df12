import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import { type Adapter, type KoaContextWithOIDC, Provider } from 'oidc-provider'

/** Who signs in at the provider, and what it says of them. */
export interface Person {
  sub: string
  claims: Record<string, unknown>
  /** The person says no. */
  refuses?: boolean
}

export interface UpstreamProvider {
  issuer: string
  clientId: string
  clientSecret: string
  /** Signs in as whoever this is. */
  person: Person
  /** Called with each request before it is answered; true: it has been answered. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  /** Goes through the provider like a browser and returns the address that it leads back to. */
  visit(authorizeUrl: string): Promise<URL>
  close(): Promise<void>
}

/** A real OpenID provider on loopback, which asks its person nothing. */
export async function startUpstream(redirectUris: string[]): Promise<UpstreamProvider> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${portOf(server)}`
  const clientId = 'mintmark'
  const clientSecret = randomBytes(24).toString('base64url')
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })

  const provider: Provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_post',
        redirect_uris: redirectUris,
      },
    ],
    adapter: memory(),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig', alg: 'RS256' }] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true },
    ttl: { AccessToken: 60, Grant: 60, IdToken: 60, Interaction: 60, Session: 60 },
    interactions: { url: () => '/sign-in' },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({ sub, ...upstream.person.claims }),
    }),
    loadExistingGrant: grantEverything,
  })

  async function grantEverything({ oidc }: KoaContextWithOIDC) {
    const clientId = oidc.client?.clientId ?? ''
    const accountId = oidc.session?.accountId ?? ''
    const grant = new provider.Grant({ clientId, accountId })
    grant.addOIDCScope('openid email profile')
    await grant.save()
    return grant
  }

  const answer = provider.callback()
  server.on('request', (request, response) => {
    if (upstream.intercept?.(request, response)) return
    if (request.url !== '/sign-in') {
      void answer(request, response)
      return
    }
    const { refuses, sub: accountId } = upstream.person
    const result = refuses ? { error: 'access_denied' } : { login: { accountId } }
    provider.interactionFinished(request, response, result).catch((error: unknown) => {
      response.writeHead(500).end(String(error))
    })
  })

  const upstream: UpstreamProvider = {
    issuer,
    clientId,
    clientSecret,
    person: { sub: 'alice-1', claims: {} },
    intercept: undefined,
    async visit(authorizeUrl) {
      const cookies = new Map<string, string>()
      let url = new URL(authorizeUrl)
      while (url.origin === issuer) {
        const headers = { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') }
        const page = await fetch(url, { headers, redirect: 'manual' })
        for (const [name, value] of page.headers.getSetCookie().map(cookieOf)) {
          cookies.set(name, value)
        }
        const location = page.headers.get('location')
        if (location === null) throw new Error(`${page.status} ${await page.text()}`)
        url = new URL(location, url)
      }
      return url
    },
    close: () => stop(server),
  }
  return upstream
}

type Payload = Record<string, unknown>

/** What the provider remembers, by model and id; it is asked for nothing else here. */
function memory() {
  const rows = new Map<string, Payload>()
  return (model: string): Adapter => {
    const key = (id: string) => `${model}:${id}`
    return {
      upsert: async (id, payload) => void rows.set(key(id), { ...payload }),
      find: async (id: string) => rows.get(key(id)),
      findByUid: async (uid: string) =>
        [...rows.values()].find((row) => row.kind === model && row.uid === uid),
      findByUserCode: async () => undefined,
      consume: async (id: string) => void rows.set(key(id), { ...rows.get(key(id)), consumed: 1 }),
      destroy: async (id: string) => void rows.delete(key(id)),
      revokeByGrantId: async (grantId: string) => {
        for (const [id, row] of rows) if (row.grantId === grantId) rows.delete(id)
      },
    }
  }
}

function cookieOf(header: string): [string, string] {
  const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
  return [name, value]
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server has no port.')
  return address.port
}

function stop(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve, reject) => {
    server.close((error) => (error ? reject(error) : resolve()))
  })
}
