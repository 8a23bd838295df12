/** A place in the change log, with what stands there; undefined when that row is pruned. */
export interface LogPlace {
  sequence: number
  row: string | undefined
}

/** Something that can end what was signed before it, as the change log has it. */
export interface SignedEnd {
  sequence: number
  /** Or one that only a newer release knows. */
  subject: 'token' | 'user' | 'group' | 'role' | 'policy'
  subjectId: string
  atMs: number
}

/** What the revocation feed reads of the change log. */
export interface RevocationStore {
  /** The last change that is committed; all before it are, too. */
  end(): Promise<LogPlace>
  /** What stands at a place of the log. */
  at(sequence: number): Promise<LogPlace>
  /**
   * Changes after `after` and up to `to` that came at `fromMs` or later and can end what was signed: in
   * their order, at most `limit`. Tokens that were only made are left out, and so are kinds that sign
   * nothing.
   */
  between(span: { after: number; to: number; fromMs: number; limit: number }): Promise<SignedEnd[]>
}
