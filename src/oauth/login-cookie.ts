import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Core } from '../core/core.ts'
import type { Principal } from '../core/rights.ts'
import type { Secret } from '../core/secret.ts'

const NAME = 'mintmark_login'

/** The login of a browser: an ordinary session in the inventory, whose secret only this cookie has. */
export interface LoginCookie {
  /** Who is logged in; undefined: nobody, or the session has ended. */
  read(request: IncomingMessage, ip: string): Promise<Principal | undefined>
  /** Value of a `Set-Cookie` header; undefined ends it. */
  header(secret: Secret | undefined): string
}

export function loginCookie(
  app: FastifyInstance,
  { core, publicUrl }: { core: Core; publicUrl: string },
): LoginCookie {
  const secure = publicUrl.startsWith('https:')
  const name = secure ? `__Host-${NAME}` : NAME
  // Lax, because a login often begins with a link from the client's site. It ends with the browser.
  const attributes = {
    path: '/',
    httpOnly: true,
    sameSite: 'lax',
    secure,
  } as const
  return {
    async read(request, ip) {
      const value = cookieOf(request, name)
      if (value === undefined) return undefined
      const verdict = await core.verifier.verify(value, { kinds: ['session'], ip, via: 'oauth' })
      if (!verdict.active || verdict.principal.token.via !== 'oauth') return undefined
      return verdict.principal
    },
    header(secret) {
      return secret === undefined
        ? app.serializeCookie(name, '', { ...attributes, maxAge: 0 })
        : app.serializeCookie(name, secret.reveal(), attributes)
    },
  }
}

/** The one value of a cookie; a name that comes twice is nobody's. */
function cookieOf({ headers }: IncomingMessage, name: string): string | undefined {
  const values = (headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
  return values.length === 1 ? values[0] : undefined
}
