import { createHmac } from 'node:crypto'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { WebhookId } from '../id.ts'
import { seal, unseal } from '../seal.ts'

/** A key that deliveries are signed with. */
export interface SigningSecret {
  /** `whsec_` and base64, as Standard Webhooks has it. */
  secret: string
  /** When it signs no longer; null: it is the current one. */
  untilMs: number | null
}

const PREFIX = 'whsec_'
/** Within the 24 to 64 of the specification. */
const SECRET_BYTES = 32

export function makeWebhookSecret({ random }: Pick<Deps, 'random'>): string {
  return PREFIX + random(SECRET_BYTES).toString('base64')
}

/** What is signed, and its header fields (Standard Webhooks 1.0.0, "Signature scheme"). */
export interface Message {
  id: string
  /** Seconds. */
  timestamp: number
  body: string
}

/** The headers of a message, with a signature for each secret. */
export function signedHeaders(
  { id, timestamp, body }: Message,
  secrets: readonly string[],
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64')
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  }
}

const contextOf = (id: WebhookId) => `webhook:${id}`

export function sealSecrets(
  { keyring, random }: Pick<Deps, 'keyring' | 'random'>,
  id: WebhookId,
  secrets: readonly SigningSecret[],
): string {
  const key = keyring.derived('webhook')
  return seal(JSON.stringify(secrets), { key, context: contextOf(id), random })
}

/** Throws `not_configured` when they were sealed under another key. */
export function openSecrets(
  { keyring }: Pick<Deps, 'keyring'>,
  id: WebhookId,
  sealed: string,
): SigningSecret[] {
  const plain = unseal(sealed, { key: keyring.derived('webhook'), context: contextOf(id) })
  if (plain === undefined) {
    throw new CoreError('not_configured', 'The secret of the webhook cannot be opened. Rotate it.')
  }
  // Opens under our key, so it is what was sealed above.
  return JSON.parse(plain.toString()) as SigningSecret[]
}
