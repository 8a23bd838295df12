/** As long as what takes its place, so that Content-Length stays true. */
export const NUMBER = '{number}'

/** One kind of request in the mix. */
export interface LoadKind {
  name: string
  /** How often, against the others. */
  share: number
  /** Whole requests, asked by turns. NUMBER in them becomes one that no other has. */
  requests: string[]
}

export interface LoadJob {
  port: number
  /** Over TLS, with whatever certificate the server has. */
  secure?: boolean
  kinds: LoadKind[]
  seconds: number
  /** Requests a second. Absent: as many as `connections` can ask one after the other. */
  rate?: number
  connections: number
  /** What takes longer is of no use to anybody. */
  deadlineMs: number
}

export interface KindResult {
  /** Answered 2xx within the deadline. */
  good: number
  /** Answered 2xx. */
  accepted: number
  /** Answered 429 or 503 with `Retry-After`. */
  refused: number
  /** Anything else, by status; `0`: no answer at all. */
  other: Record<string, number>
  acceptedP50Ms: number
  acceptedP99Ms: number
  refusedP99Ms: number
  /** Of what was accepted, without what the generator itself was late. */
  serverP99Ms: number
}

export interface LoadResult {
  seconds: number
  sent: number
  /** Wanted, but no connection was free: clients that gave up before they began. */
  unsent: number
  /** How late the generator was: in sending after the time was due, and at most in hearing what had come. */
  lateness: { sendP99Ms: number; hearP99Ms: number }
  kinds: Record<string, KindResult>
}
