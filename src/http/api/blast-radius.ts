import { Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { BlastRadius as CoreRadius } from '../../core/tokens/blast-radius.ts'
import { Nullable } from '../nullable.ts'
import { instant, instantOrNull, namesFor, tokenOut } from './format.ts'
import { Id, Instant, Token, TokenKind, TokenState } from './schemas.ts'

export const DryRunQuery = Type.Object(
  {
    dry_run: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: 'Change nothing, and answer what would be hit (200)',
      }),
    ),
  },
  { additionalProperties: false },
)

export const isDryRun = ({ dry_run }: { dry_run?: 'true' | 'false' }) => dry_run === 'true'

/** Throws `invalid_input` for an edit whose tokens nobody could tell. */
export function mustOnlyDisable(edit: { active?: boolean }): void {
  if (edit.active === false && Object.keys(edit).length === 1) return
  throw new CoreError(
    'invalid_input',
    'A dry run of a change tells what disabling hits. Send {"active": false} alone.',
  )
}

const Count = Type.Integer()

export const BlastRadius = Type.Object(
  {
    effect: Type.Enum(['revoked', 'refused', 'narrowed'], {
      description: 'Dead for good; refused while the owner is disabled; or left with less',
    }),
    total: Type.Integer({ description: 'Tokens that would be hit, in all' }),
    children: Type.Integer({
      description: 'Of these, families and descendants that die with the ones that are meant',
    }),
    kinds: Type.Array(Type.Object({ value: TokenKind, count: Count })),
    states: Type.Array(Type.Object({ value: TokenState, count: Count })),
    tokens: Type.Array(Token, { description: 'The first 100, oldest first, children last' }),
    ownerCount: Count,
    owners: Type.Array(Type.Object({ id: Id, username: Nullable(Type.String()), count: Count }), {
      description: 'The 100 with most tokens',
    }),
    vias: Type.Array(Type.Object({ value: Type.String(), count: Count }), {
      description: 'Through which APIs they were made',
    }),
    use: Type.Object({
      lastAt: Nullable(Instant),
      lastHour: Type.Integer({ description: 'Tokens that were used within the last hour' }),
      lastDay: Count,
      last30Days: Count,
      never: Count,
    }),
    callerCount: Count,
    callers: Type.Array(Type.Object({ ip: Type.String(), count: Count, lastUsedAt: Instant }), {
      description: 'The 100 addresses from which tokens were last used most recently',
    }),
  },
  { description: 'What would be hit' },
)

export async function blastRadiusOut(core: Core, radius: CoreRadius) {
  const { use, owners, callers, tokens, ...rest } = radius
  const { lastAtMs, ...uses } = use
  const names = await namesFor(core, tokens)
  const usernames = await core.usernames(owners.map(({ value }) => value))
  return {
    ...rest,
    tokens: tokens.map((token) => tokenOut(token, names)),
    owners: owners.map(({ value, count }) => ({
      id: value,
      username: usernames.get(value) ?? null,
      count,
    })),
    use: { lastAt: instantOrNull(lastAtMs), ...uses },
    callers: callers.map(({ value, count, lastUsedAtMs }) => ({
      ip: value,
      count,
      lastUsedAt: instant(lastUsedAtMs),
    })),
  }
}
