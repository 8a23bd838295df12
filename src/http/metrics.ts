import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Verifier } from '../core/tokens/verify.ts'

export interface Metrics {
  registry: Registry
  /** Verdicts by outcome: `active` or the reason of the refusal. */
  verdicts: Counter<'outcome'>
  /** Signed tokens given out; each leaves no other trace than a use of the token behind it. */
  signed: Counter
}

/** Prometheus figures. Labels are route patterns, never URLs or ids, so their number is bounded. */
export function createMetrics(verifier: Verifier): Metrics {
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
  const verdicts = new Counter({
    name: 'mintmark_verdicts_total',
    help: 'Answers of the verify endpoints by outcome.',
    labelNames: ['outcome'],
    registers: [registry],
  })
  const signed = new Counter({
    name: 'mintmark_signed_tokens_total',
    help: 'Signed tokens given out.',
    registers: [registry],
  })
  return { registry, verdicts, signed }
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
  app.get('/metrics', { config: { ...config, answersCutOff: true } }, async (_, reply) =>
    reply.type(registry.contentType).send(await gather()),
  )
}
