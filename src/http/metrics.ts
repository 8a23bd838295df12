import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Core, EventFigures } from '../core/core.ts'

export interface Metrics {
  registry: Registry
  /** Counts a verdict by its outcome: `active` or the reason of the refusal. */
  countVerdict(outcome: string): void
  /** Signed tokens given out; each leaves no other trace than a use of the token behind it. */
  signed: Counter
  /** Shows figures that were counted apart, because counting is too much for a scrape. */
  show(figures: EventFigures): void
}

/** Prometheus figures. Labels are route patterns, never URLs or ids, so their number is bounded. */
export function createMetrics({
  verifier,
  deliverer,
}: Pick<Core, 'verifier' | 'deliverer'>): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'mintmark_' })
  new Gauge({
    name: 'mintmark_cached_tokens',
    help: 'Tokens in the verdict cache.',
    registers: [registry],
    collect() {
      this.set(verifier.cachedEntries())
    },
  })
  // Told when somebody looks: finding the cell of a label anew cost more than the rest of a verdict.
  /** Cells, so that counting is a look-up and no more. */
  const verdicts = new Map<string, { count: number }>()
  new Counter({
    name: 'mintmark_verdicts_total',
    help: 'Answers of the verify endpoints by outcome.',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [outcome, { count }] of verdicts) this.inc({ outcome }, count)
    },
  })
  const signed = new Counter({
    name: 'mintmark_signed_tokens_total',
    help: 'Signed tokens given out.',
    registers: [registry],
  })
  const endings = new Gauge({
    name: 'mintmark_tokens_expiring',
    help: 'Live tokens by kind that expire within so many days.',
    labelNames: ['kind', 'within'],
    registers: [registry],
  })
  const open = new Gauge({
    name: 'mintmark_webhook_deliveries',
    help: 'Deliveries to webhooks that wait (pending) or were given up (dead).',
    labelNames: ['state'],
    registers: [registry],
  })
  new Counter({
    name: 'mintmark_webhook_attempts_total',
    help: 'Attempts to deliver to webhooks, by outcome.',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      const { delivered, failed } = deliverer.tally()
      this.reset()
      this.inc({ outcome: 'delivered' }, delivered)
      this.inc({ outcome: 'failed' }, failed)
    },
  })
  return {
    registry,
    countVerdict(outcome) {
      const cell = verdicts.get(outcome)
      if (cell === undefined) verdicts.set(outcome, { count: 1 })
      else cell.count++
    },
    signed,
    show(figures) {
      endings.reset()
      for (const { kind, withinDays, count } of figures.endings) {
        endings.set({ kind, within: `${withinDays}d` }, count)
      }
      open.set({ state: 'pending' }, figures.deliveries.pending)
      open.set({ state: 'dead' }, figures.deliveries.dead)
    },
  }
}

export interface MeasuredRequest {
  method: string
  /** Route pattern. */
  route: string
  status: number
}

/** Notes how long a request of that kind took, in seconds. */
export type RequestMeter = (request: MeasuredRequest) => (seconds: number) => void

/** Measures every request of `app`. What it returns is for those that are answered in front of it. */
export function measureRequests(app: FastifyInstance, { registry }: Metrics): RequestMeter {
  const duration = new Histogram({
    name: 'mintmark_http_request_duration_seconds',
    help: 'Duration of requests by method, route pattern and status class.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    registers: [registry],
  })
  const meter: RequestMeter = ({ method, route, status }) => {
    const cell = duration.labels({ method, route, status: `${Math.floor(status / 100)}xx` })
    return (seconds) => cell.observe(seconds)
  }
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none'
    meter({ method: request.method, route, status: reply.statusCode })(reply.elapsedTime / 1000)
    done()
  })
  return meter
}

/** Registers `/metrics`; a guard of its scope decides who may read it, unless it is public. */
export function registerMetrics(
  app: FastifyInstance,
  { registry }: Metrics,
  options: { public: boolean; gather?: (() => Promise<string>) | undefined },
): void {
  const { gather = () => registry.metrics(), ...config } = options
  app.get(
    '/metrics',
    { config: { ...config, answersCutOff: true, weight: 'vital' } },
    async (_, reply) => reply.type(registry.contentType).send(await gather()),
  )
}
