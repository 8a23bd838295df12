import { createHmac, type KeyObject, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Header = Record<string, unknown>
export type Claims = Record<string, unknown>

/** A JWT taken apart. */
export interface Parts {
  header: Header
  claims: Claims
}

export const encoded = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export function partsOf(jwt: string): Parts {
  const [header = '', claims = ''] = jwt.split('.')
  const decoded = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
  return { header: decoded(header), claims: decoded(claims) }
}

/**
 * Signs whatever is asked for, as no library would: the algorithm that is used is said apart from the
 * one that the header claims.
 */
export function signed(
  { header, claims }: { header: Header; claims: unknown },
  { key, alg }: { key: KeyObject; alg: string },
): string {
  const input = `${encoded(header)}.${encoded(claims)}`
  return `${input}.${signatureOf(input, { key, alg })}`
}

export function signatureOf(input: string, { key, alg }: { key: KeyObject; alg: string }): string {
  const hash = `sha${alg.slice(2)}`
  const bytes = Buffer.from(input)
  const options = {
    RS: key,
    PS: { key, padding: 6, saltLength: -1 },
    ES: { key, dsaEncoding: 'ieee-p1363' as const },
  }[alg.slice(0, 2)]
  if (options === undefined) throw new Error(`Nothing signs with ${alg}.`)
  return sign(hash, bytes, options).toString('base64url')
}

/** What somebody signs who takes a public key for a shared secret. */
export function signedWithSecret(
  { header, claims }: { header: Header; claims: unknown },
  { secret, alg }: { secret: string | Buffer; alg: string },
): string {
  const input = `${encoded({ ...header, alg })}.${encoded(claims)}`
  const signature = createHmac(`sha${alg.slice(2)}`, secret)
    .update(input)
    .digest('base64url')
  return `${input}.${signature}`
}

/** All forms in which a public key lies around, to be taken for a shared secret. */
export function formsOf(key: KeyObject): [string, string | Buffer][] {
  const pem = key.export({ type: 'spki', format: 'pem' }).toString()
  const jwk = key.export({ format: 'jwk' })
  const pkcs1: [string, string | Buffer][] =
    key.asymmetricKeyType === 'rsa'
      ? [
          ['PKCS#1 PEM', key.export({ type: 'pkcs1', format: 'pem' })],
          ['modulus', Buffer.from(String(jwk.n), 'base64url')],
        ]
      : []
  return [
    ['PEM', pem],
    ['PEM without its last newline', pem.trim()],
    ['DER', key.export({ type: 'spki', format: 'der' })],
    ['JWK', JSON.stringify(jwk)],
    ['empty', ''],
    ...pkcs1,
  ]
}

/** A place that forged headers point to; nobody may call there. */
export interface Trap {
  url: string
  calls: string[]
  close(): Promise<void>
}

export async function openTrap(answer: () => unknown): Promise<Trap> {
  const calls: string[] = []
  const server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}
