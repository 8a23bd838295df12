import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Core } from '../../core/core.ts'
import { seal, unseal } from '../../core/seal.ts'

/** A cookie that the browser keeps for us and neither it nor anybody else can read or write. */
export interface SealedCookie {
  write(reply: FastifyReply, value: string, expiresAtMs: number): void
  /** Undefined when there is none, it is not ours, or its time is over. */
  read(request: FastifyRequest): string | undefined
  clear(reply: FastifyReply): void
}

export interface CookieOptions {
  core: Pick<Core, 'clock' | 'keyring' | 'random'>
  /** Where browsers reach us; https makes the cookie Secure and binds it to the host. */
  publicUrl: string
  name: string
}

export function sealedCookie({ core, publicUrl, name }: CookieOptions): SealedCookie {
  const secure = publicUrl.startsWith('https:')
  const fullName = secure ? `__Host-${name}` : name
  // Lax, because a sign-in comes back by a link from the provider's site.
  const attributes = { path: '/', httpOnly: true, sameSite: 'lax', secure } as const
  const sealing = () => ({ key: core.keyring.derived('cookie'), context: `s7:${name}` })

  return {
    write(reply, value, expiresAtMs) {
      const plain = JSON.stringify({ value, expiresAtMs })
      reply.setCookie(fullName, seal(plain, { ...sealing(), random: core.random }), {
        ...attributes,
        maxAge: Math.max(0, Math.floor((expiresAtMs - core.clock.now()) / 1000)),
      })
    },
    read(request) {
      const sealed = request.cookies[fullName]
      const plain = sealed === undefined ? undefined : unseal(sealed, sealing())
      if (plain === undefined) return undefined
      // What opens under our key was written above.
      const kept = JSON.parse(plain.toString()) as { value: string; expiresAtMs: number }
      return kept.expiresAtMs > core.clock.now() ? kept.value : undefined
    },
    clear(reply) {
      reply.clearCookie(fullName, attributes)
    },
  }
}
