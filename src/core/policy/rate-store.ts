/** What nodes on one database have taken of the rates that they share. */
export interface RateStore {
  /**
   * Up to when a budget is used up, in epoch milliseconds (not always whole ones); undefined: it is
   * whole. Nobody else reads or changes it before the transaction ends.
   */
  usedUntilMs(key: string): Promise<number | undefined>
  use(key: string, untilMs: number): Promise<void>
  /** Forgets what is whole again. */
  purge(nowMs: number): Promise<void>
}
