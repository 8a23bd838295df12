import type { ChangeOptions } from './http.ts'

export interface OnceOptions extends ChangeOptions {
  /**
   * 8 to 255 characters, new for each new secret. With it the call is retried when the answer gets
   * lost, and however often it arrives, one secret is made.
   */
  idempotencyKey?: string
}

/** Only a call with a key may be repeated: without one, each repetition makes a secret. */
export function once({ idempotencyKey, ...options }: OnceOptions) {
  if (idempotencyKey === undefined) return options
  return { ...options, headers: { 'idempotency-key': idempotencyKey }, repeatable: true }
}
