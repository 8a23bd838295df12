import type { Config } from '../config.ts'
import type { Core } from '../core/core.ts'
import type { AccessJwts } from './access-jwt.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'
import type { TokenJwts } from './token-jwt.ts'

/** What every API is built from. */
export interface ApiParts {
  core: Core
  jwts: AccessJwts
  tokenJwts: TokenJwts
  config: Config
  metrics: Metrics
  health: Health
  /** Does bulk actions; `wake` lets it look for a new one now. */
  jobs: { wake(): void }
}
