import { Type } from 'typebox'
import type { KeyFacts } from '../../core/keys/list.ts'
import { ROTATABLE } from '../../core/keys/purposes.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant, instantOrNull } from './format.ts'
import { Instant, problems } from './schemas.ts'

const tags = ['keys']

export const Key = Type.Object({
  id: Type.String({ description: 'Of signing keys the `kid`' }),
  purpose: Type.Enum(['root', 'pepper', 's7', 'oauth', 'jwt']),
  algorithm: Type.String(),
  state: Type.Enum(['current', 'retired'], {
    description: 'A retired key does no new work, and verifies until what was made with it is over',
  }),
  createdAt: Instant,
  retiredAt: Nullable(Instant),
})
const Keys = Type.Object({ items: Type.Array(Key) })

function keyOut({ id, purpose, algorithm, createdAtMs, retiredAtMs }: KeyFacts) {
  return {
    id,
    purpose,
    algorithm,
    state: retiredAtMs === undefined ? ('current' as const) : ('retired' as const),
    createdAt: instant(createdAtMs),
    retiredAt: instantOrNull(retiredAtMs),
  }
}

/** What may be known of the server's keys, never the keys themselves. */
export function keyRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/keys',
    {
      schema: {
        tags,
        summary: 'The keys of the server, current ones first',
        response: { 200: Keys, ...problems },
      },
    },
    async (request) => ({ items: (await core.read.keys(callerOf(request))).map(keyOut) }),
  )

  app.post(
    '/keys/rotate',
    {
      schema: {
        tags,
        summary: 'Replace the keys of a purpose, with an overlap',
        description:
          'New keys do all new work at once. The old ones are retired: they verify until everything made with them is over, and are deleted then. Answers the keys of that purpose, the new ones first.',
        body: Type.Object(
          {
            purpose: Type.Enum([...ROTATABLE], {
              description:
                '`oauth`: both signing keys of the OpenID provider; `s7`: that of S7 access tokens; `jwt`: that of signed tokens and of the revocation feed; `pepper`: that of the digests of secrets',
            }),
          },
          { additionalProperties: false },
        ),
        response: { 200: Keys, ...problems },
      },
    },
    async (request) => {
      const { purpose } = request.body
      const keys = await core.rotateKeys({ caller: callerOf(request), purpose })
      return { items: keys.map(keyOut) }
    },
  )
}
