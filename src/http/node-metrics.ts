import type { FastifyBaseLogger } from 'fastify'
import { Counter, Gauge, Histogram } from 'prom-client'
import type { Core } from '../core/core.ts'
import type { Metrics } from './metrics.ts'

const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]

/** How often a node looks whether it still has the database. */
const LOOK_MS = 250

/**
 * Figures of the nodes as this one sees them, and how fast they hear of what it changes; tells the log
 * when this one loses the database and when it has it again. Returns the way to stop.
 */
export function measureNodes(
  { registry }: Metrics,
  { core, log }: { core: Pick<Core, 'nodes'>; log: FastifyBaseLogger },
): () => void {
  const registers = [registry]
  const applied = new Histogram({
    name: 'mintmark_change_applied_seconds',
    help: 'From the commit of a change on this node until it heard that another one has applied it, by address.',
    labelNames: ['node'],
    buckets: BUCKETS,
    registers,
  })
  const acknowledged = new Histogram({
    name: 'mintmark_change_acknowledged_seconds',
    help: 'From the commit of a change on this node until all nodes had applied it.',
    buckets: BUCKETS,
    registers,
  })
  const missed = new Counter({
    name: 'mintmark_changes_not_acknowledged_total',
    help: 'Answers that went out before all nodes had applied the change, because waiting has a limit.',
    registers,
  })
  core.nodes.measure({
    applied: (node, seconds) => applied.observe({ node }, seconds),
    acknowledged: (seconds) => acknowledged.observe(seconds),
    missed(found) {
      missed.inc()
      log.warn(found, 'Not all nodes have acknowledged a change in time')
    },
  })
  /** `aggregator`: which one counts of several processes behind one port. */
  const gauge = (
    name: string,
    { help, aggregator }: { help: string; aggregator: 'max' | 'min' },
    value: () => number | undefined,
  ) =>
    new Gauge({
      name,
      help,
      aggregator,
      registers,
      collect() {
        const now = value()
        if (now !== undefined) this.set(now)
      },
    })
  gauge(
    'mintmark_nodes',
    { help: 'Nodes that may answer.', aggregator: 'max' },
    () => core.nodes.figures().nodes,
  )
  gauge(
    'mintmark_change_lag',
    {
      help: 'Changes that the slowest node has not told to have applied.',
      aggregator: 'max',
    },
    () => core.nodes.figures().lag,
  )
  gauge(
    'mintmark_lease_left_seconds',
    {
      help: 'How long this node goes on answering without the database; 0: it has stopped.',
      aggregator: 'min',
    },
    () => {
      const { leaseLeftMs } = core.nodes.figures()
      return leaseLeftMs === undefined ? undefined : leaseLeftMs / 1000
    },
  )
  return tellLosses(() => core.nodes.figures().leaseLeftMs, log)
}

/** One line when the lease is over and one when there is a new one: each refusal would be too many. */
function tellLosses(leaseLeftMs: () => number | undefined, log: FastifyBaseLogger): () => void {
  let lostAtMs: number | undefined
  const timer = setInterval(() => {
    const isLost = leaseLeftMs() === 0
    if (isLost && lostAtMs === undefined) {
      lostAtMs = performance.now()
      log.error('This node has lost the database: it refuses all requests until it is back')
    } else if (!isLost && lostAtMs !== undefined) {
      const seconds = Math.round((performance.now() - lostAtMs) / 1000)
      lostAtMs = undefined
      log.warn({ seconds }, 'The database is back: this node answers again')
    }
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}
