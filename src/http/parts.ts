import type { Config } from '../config.ts'
import type { Core } from '../core/core.ts'
import type { AccessJwts } from './access-jwt.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'

/** What every API is built from. */
export interface ApiParts {
  core: Core
  jwts: AccessJwts
  config: Config
  metrics: Metrics
  health: Health
  /** Does bulk actions; `wake` lets it look for a new one now. */
  jobs: { wake(): void }
}
