/** How many of the nodes that may answer know of a change. */
export interface Acknowledgement {
  acknowledged: number
  nodes: number
}

/** What every node knows of a node. */
export interface NodeFacts {
  id: string
  /** Where this very node is reached, past any balancer; undefined: it does not listen yet. */
  address: string | undefined
  version: string
  startedAtMs: number
  /** When it last told of itself, by the clock of the database. */
  seenAtMs: number
  leaseMs: number
  /** The number of the change up to which it has applied everything. */
  position: number
  /** Draining nodes still answer; gone ones were silent for longer than their lease. */
  state: 'live' | 'draining' | 'gone'
}

/** What there is to measure of changes on their way. */
export interface Propagation {
  /** The node that has applied a change of ours, by its address. */
  applied(node: string, seconds: number): void
  /** All have. */
  acknowledged(seconds: number): void
  /** Not all have, within the time that was waited. */
  missed(found: Acknowledgement): void
}

/** The nodes that share the database. Of a database file there is always one. */
export interface NodeRegistry {
  /** Of this node; undefined: it is not registered, because it answers nobody. */
  readonly id: string | undefined
  /**
   * Waits until every node that may answer has applied our own change with this number, or everything
   * that anybody has changed by now, but no longer than `waitMs`. Never throws: what cannot be known
   * counts as not acknowledged.
   */
  acknowledged(wish: number | 'everything', waitMs: number): Promise<Acknowledgement>
  /** All of them, those gone lately included. */
  list(): Promise<NodeFacts[]>
  /** Tells the others where this node is, and whether it is about to leave. */
  announce(facts: { address?: string; draining?: boolean }): Promise<void>
  measure(by: Propagation): void
  figures(): NodeFigures
}

export interface NodeFigures {
  /** Nodes that may answer, as this one knows. */
  nodes: number
  /** Changes that the slowest of them has not told to have applied. */
  lag: number
  /** How long answers may still be given from memory without the database; undefined: for ever. */
  leaseLeftMs: number | undefined
}
