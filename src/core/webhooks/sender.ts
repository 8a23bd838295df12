/** Something to be sent to an address that an administrator named. */
export interface OutgoingRequest {
  url: string
  headers: Record<string, string>
  body: string
}

/** What came of it. A refusal to send, a broken connection and a timeout are all errors. */
export type Sent = { status: number } | { error: string }

/**
 * Sends to the outside, for core. Whoever implements it refuses addresses that must not be reached,
 * follows no redirects, and ends within a few seconds.
 */
export interface Sender {
  post(request: OutgoingRequest): Promise<Sent>
  /** Whether an address literal may be sent to at all. */
  mayReach(address: string): boolean
  /** Whether plain http is good enough. */
  allowHttp: boolean
}

/** For commands that have no business outside. */
export const NO_SENDER: Sender = {
  post: async () => ({ error: 'Nothing can be sent from here.' }),
  mayReach: () => true,
  allowHttp: true,
}
