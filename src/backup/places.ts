import type { Config, DatabaseConfig } from '../config.ts'
import type { Core } from '../core/core.ts'
import type { Secret } from '../core/secret.ts'
import type { Store } from '../core/store.ts'
import type { Contents, Source, Target } from '../core/transfer.ts'

/** Where installations are and may be put; app.ts has the real ones. */
export interface Places {
  /** `alone`: no server is on it meanwhile. */
  openSource(database: DatabaseConfig, options: { alone: boolean }): Promise<Source>
  /** Somewhere empty, with tables like those of the contents. */
  openTarget(database: DatabaseConfig, contents: Contents): Promise<Target>
  /** Opens what is there, bringing it to this release. */
  openCore(config: Config, parts: { masterKey: Secret }): Promise<{ core: Core; store: Store }>
}
