import { up as init } from './0001-init.ts'
import { up as oauth } from './0002-oauth.ts'
import { up as keys } from './0003-keys.ts'
import { up as tokenQuery } from './0004-token-query.ts'
import { up as bulkJobs } from './0005-bulk-jobs.ts'
import { up as endedTokens } from './0006-ended-tokens.ts'
import { up as imports } from './0007-imports.ts'
import { up as rates } from './0008-rates.ts'
import { up as rotationOverlap } from './0009-rotation-overlap.ts'
import { up as use } from './0010-use.ts'
import { up as nodes } from './0011-nodes.ts'
import { up as events } from './0012-events.ts'
import { up as leaks } from './0013-leaks.ts'
import { builds as wideBuilds, up as wideIndexes } from './0014-wide-indexes.ts'
import { up as narrowIndexes } from './0015-narrow-indexes.ts'
import { up as mustKnow } from './0016-must-know.ts'
import type { Step } from './builds.ts'

/** In order, append-only: a migration that has been released is never edited. */
export const migrations: Record<string, Step> = {
  '0001-init': { up: init },
  '0002-oauth': { up: oauth },
  '0003-keys': { up: keys },
  '0004-token-query': { up: tokenQuery },
  '0005-bulk-jobs': { up: bulkJobs },
  '0006-ended-tokens': { up: endedTokens },
  '0007-imports': { up: imports },
  '0008-rates': { up: rates },
  '0009-rotation-overlap': { up: rotationOverlap },
  '0010-use': { up: use },
  '0011-nodes': { up: nodes },
  '0012-events': { up: events },
  '0013-leaks': { up: leaks },
  '0014-wide-indexes': { up: wideIndexes, builds: wideBuilds },
  '0015-narrow-indexes': { up: narrowIndexes },
  '0016-must-know': { up: mustKnow },
}
