import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import type { ClientId, UserId } from '../../core/id.ts'
import type { ClientTokenFilter } from '../../core/tokens/store.ts'
import { SAYINGS } from './errors.ts'
import type { Family } from './families.ts'
import { lastOf, serialOf } from './map.ts'
import type { ListQuery, ValidationError } from './wire.ts'

/** What a list is about; an undefined filter fits nothing at all. */
type Wanted = { refused: ValidationError } | { filter: ClientTokenFilter | undefined }

/** A parameter's row: not asked for, impossible, not to be seen by this caller, or there. */
type Choice<Id> = 'any' | 'invalid' | 'hidden' | { id: Id }

/**
 * Reads `user` and `provider`. A row that does not exist is refused; to those who may not see whom
 * others are, it is as empty as somebody else's (no existence oracle).
 */
export async function filterOf(
  core: Core,
  caller: Caller,
  { family, query }: { family: Family; query: ListQuery },
): Promise<Wanted> {
  const { filter } = family
  const choose = chooser(caller.principal.rights.admin)
  const [user, provider] = await Promise.all([
    choose<UserId>(query.user, (serial) => core.read.userBySerial(caller, serial)),
    choose<ClientId>(query.provider, (serial) =>
      core.read.clientOfTokens(caller, { filter, serial }),
    ),
  ])
  if (user === 'invalid' || provider === 'invalid') {
    return {
      refused: {
        ...(user === 'invalid' ? { user: [SAYINGS.invalidChoice] } : {}),
        ...(provider === 'invalid' ? { provider: [SAYINGS.invalidChoice] } : {}),
      },
    }
  }
  if (user === 'hidden' || provider === 'hidden') return { filter: undefined }
  return {
    filter: {
      ...filter,
      ...(user === 'any' ? {} : { ownerId: user.id }),
      ...(provider === 'any' ? {} : { clientId: provider.id }),
    },
  }
}

function chooser(seesEverything: boolean) {
  return async <Id>(
    parameter: string | string[] | undefined,
    bySerial: (serial: number) => Promise<{ id: Id } | undefined>,
  ): Promise<Choice<Id>> => {
    // Empty is how forms spell "any".
    const text = lastOf(parameter) || undefined
    if (text === undefined) return 'any'
    const serial = serialOf(text)
    if (serial === undefined) return 'invalid'
    return (await bySerial(serial)) ?? (seesEverything ? 'invalid' : 'hidden')
  }
}
