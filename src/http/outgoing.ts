import { lookup } from 'node:dns/promises'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { reachableTest } from '../core/public-address.ts'
import type { OutgoingRequest, Sender } from '../core/webhooks/sender.ts'
import { VERSION } from '../version.ts'

/** For everything together: the name, the connection, and the answer. */
const TIMEOUT_MS = 5000
/** Of an answer, which nobody reads. */
const MAX_ANSWER_BYTES = 65_536

export interface OutgoingOptions {
  /** Ranges that may be reached besides public addresses. */
  allowed: readonly string[]
  allowHttp: boolean
}

/**
 * Sends to addresses that people name, without lending them our place in the network: a name is
 * resolved once, every address that it has must be allowed, and the connection goes to one of those and
 * nowhere else. No redirect is followed, no connection kept, and no proxy used.
 */
export function outgoing({ allowed, allowHttp }: OutgoingOptions): Sender {
  const mayReach = reachableTest(allowed)
  return {
    mayReach,
    allowHttp,
    async post(request) {
      const url = new URL(request.url)
      if (url.protocol !== 'https:' && !(url.protocol === 'http:' && allowHttp)) {
        return { error: 'Only https is allowed.' }
      }
      try {
        return { status: await posted(url, request, mayReach) }
      } catch (error) {
        return { error: sentenceOn(error) }
      }
    },
  }
}

/** A refusal of ours, as against what the network says. */
class Refusal extends Error {}

async function posted(
  url: URL,
  { headers, body }: OutgoingRequest,
  mayReach: (address: string) => boolean,
): Promise<number> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  // Node asks nobody about an address, so it is looked at here.
  if (isIP(host) !== 0 && !mayReach(host)) throw new Refusal('The address is in a private network.')
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const bytes = Buffer.from(body)
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const request = send(url, {
    method: 'POST',
    agent: false,
    lookup: guardedLookup(mayReach),
    signal,
    headers: {
      ...headers,
      'content-length': bytes.length,
      'user-agent': `Mintmark/${VERSION}`,
      connection: 'close',
    },
  })
  request.on('socket', (socket) => {
    // Whatever was resolved: this is where we are.
    socket.on('connect', () => {
      const { remoteAddress } = socket
      if (remoteAddress === undefined || !mayReach(remoteAddress)) {
        request.destroy(new Refusal('The address is in a private network.'))
      }
    })
  })
  return answerTo(request, bytes)
}

function answerTo(request: ClientRequest, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    let isAnswered = false
    // Node drops a connection that the other side upgrades, and calls that no error.
    request.on('close', () => {
      if (!isAnswered) reject(new Refusal('The connection ended without an answer.'))
    })
    request.on('response', (response: IncomingMessage) => {
      isAnswered = true
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_ANSWER_BYTES) request.destroy(new Refusal('The answer is too long.'))
      })
      response.on('error', reject)
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    request.end(body)
  })
}

/** One private address among several is enough to refuse a name: the next connection might take that one. */
function guardedLookup(mayReach: (address: string) => boolean): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { ...options, all: true })
      .then((addresses) => {
        if (addresses.length === 0) throw new Refusal('The name has no address.')
        if (addresses.some(({ address }) => !mayReach(address))) {
          throw new Refusal('The name leads into a private network.')
        }
        if (options.all === true) return done(null, addresses)
        const [first] = addresses
        return done(null, first?.address ?? '', first?.family)
      })
      .catch((error: NodeJS.ErrnoException) => done(error, ''))
  }
}

const FAILURES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'The name is unknown: there is no such host (ENOTFOUND).',
  EAI_AGAIN: 'The name could not be looked up, because the name server did not answer (EAI_AGAIN).',
  ECONNREFUSED: 'Nothing listens there (ECONNREFUSED).',
  ECONNRESET: 'The other side broke the connection off (ECONNRESET).',
  EHOSTUNREACH: 'There is no way to the host (EHOSTUNREACH).',
  CERT_HAS_EXPIRED: 'The certificate of the other side has expired.',
  DEPTH_ZERO_SELF_SIGNED_CERT:
    'The certificate of the other side is self-signed. Use one of an authority.',
}

/** What an administrator is told; never anything that the other side said. */
function sentenceOn(error: unknown): string {
  if (error instanceof Refusal) return error.message
  const { name, code } = error as NodeJS.ErrnoException
  if (name === 'AbortError' || name === 'TimeoutError') {
    return `No answer within ${TIMEOUT_MS / 1000} seconds.`
  }
  if (code === undefined) return 'The connection failed.'
  return FAILURES[code] ?? `The connection failed: ${code}.`
}
