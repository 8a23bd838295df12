import type { Caller, Origin } from '../caller.ts'
import type { Client } from '../clients/client.ts'
import { subjectOf } from '../clients/subject.ts'
import type { Deps } from '../deps.ts'
import { revokeGrant } from '../grants/manage.ts'
import type { GrantId, TokenId, UserId } from '../id.ts'
import type { Owner } from '../rights.ts'
import { revokeSettled } from '../tokens/revoke.ts'
import type { Token } from '../tokens/token.ts'
import type { User } from '../users/user.ts'
import { type Exchange, exchange, repeatedAnswer } from './exchange.ts'
import { findEngineGrant, type GrantDraft, rememberedGrant, saveEngineGrant } from './grants.ts'
import * as records from './records.ts'
import {
  type EngineToken,
  findEngineToken,
  findUsableToken,
  heldScopes,
  longestTtlSeconds,
  saveEngineToken,
} from './tokens.ts'

/** More clients than anybody signs in to during one login. */
const GRANTS_OF_A_LOGIN = 1000

/** What the OAuth2 engine needs of the domain. Everything that changes is one transaction. */
export type OauthEngine = ReturnType<typeof oauthEngine>

export function oauthEngine(deps: Deps) {
  const { store } = deps
  return {
    newId: () => deps.newId(),

    findToken: (secret: string, kind: Parameters<typeof findEngineToken>[2]) =>
      findEngineToken(deps, secret, kind),
    findUsableToken: (secret: string, kind: Parameters<typeof findUsableToken>[2]) =>
      findUsableToken(deps, secret, kind),
    saveToken: (wish: { origin: Origin; token: EngineToken }) =>
      store.transaction((tx) => saveEngineToken(deps, tx, wish)),
    exchange: (wish: Exchange) => store.transaction((tx) => exchange(deps, tx, wish)),
    repeatedAnswer: (wish: Parameters<typeof repeatedAnswer>[1]) => repeatedAnswer(deps, wish),
    heldScopes: (wish: { ownerId: UserId; client: Client; scopes: readonly string[] }) =>
      heldScopes(deps, wish),
    longestTtlSeconds: (wish: Parameters<typeof longestTtlSeconds>[1]) =>
      longestTtlSeconds(deps, wish),

    findGrant: (id: GrantId) => findEngineGrant(deps, id),
    saveGrant: (wish: { origin: Origin; grant: GrantDraft; record: Record<string, unknown> }) =>
      store.transaction((tx) => saveEngineGrant(deps, tx, wish)),
    rememberedGrant: (wish: Parameters<typeof rememberedGrant>[1]) => rememberedGrant(deps, wish),

    /** A code or refresh token was presented again: everything that came of its grant dies. */
    async punishReuse({ origin, token }: { origin: Origin; token: Token }): Promise<void> {
      await store.transaction(async (tx) => {
        await deps.audit(
          tx,
          { origin },
          {
            action: 'token.reused',
            subjectType: 'token',
            subjectId: token.id,
            after: {
              kind: token.kind,
              grantId: token.familyId,
              ownerId: token.ownerId,
              clientId: token.oauth?.clientId,
            },
          },
        )
        // The family of such a token is its grant's.
        const id = token.familyId as string as GrantId
        await revokeGrant(deps, tx, { actor: { origin }, id, reason: 'token used twice' })
      })
    },
    async revokeGrant(wish: { origin: Origin; id: GrantId; reason: string }): Promise<void> {
      await store.transaction((tx) =>
        revokeGrant(deps, tx, { actor: { origin: wish.origin }, id: wish.id, reason: wish.reason }),
      )
    },

    /** A client gives back a token of its own (RFC 7009). Once it is gone, this changes nothing. */
    async revokeForClient({ origin, token }: { origin: Origin; token: Token }): Promise<void> {
      const reason = 'revoked by its client'
      await store.transaction((tx) => revokeSettled(deps, tx, { actor: { origin }, token, reason }))
    },
    /** Ends a browser's login, what was only to last as long, and nothing else. */
    async endLogin(caller: Caller): Promise<void> {
      const reason = 'signed out'
      const { token } = caller.principal
      await store.transaction(async (tx) => {
        const filter = { sessionId: token.id, liveAtMs: deps.clock.now() }
        const given = await tx.grants.list(filter, undefined, GRANTS_OF_A_LOGIN)
        for (const { id, scopes } of given) {
          if (scopes.includes('offline_access')) continue
          await revokeGrant(deps, tx, { actor: caller, id, reason })
        }
        // Last: grants are locked before tokens, and what came of the login otherwise dies with it.
        await revokeSettled(deps, tx, { actor: caller, token, reason })
      })
    },

    putRecord: (record: records.EngineRecord) =>
      store.transaction((tx) => records.putRecord(deps, tx, record)),
    addRecord: (record: records.EngineRecord) =>
      store.transaction((tx) => records.addRecord(deps, tx, record)),
    findRecord: (where: { model: string; id: string }) => records.findRecord(deps, where),
    findRecordByUid: (where: { model: string; uid: string }) =>
      records.findRecordByUid(deps, where),
    findRecordByUserCode: (where: { model: string; userCode: string }) =>
      records.findRecordByUserCode(deps, where),
    consumeRecord: (where: { model: string; id: string }) =>
      store.transaction((tx) => records.consumeRecord(deps, tx, where)),
    removeRecord: (where: { model: string; id: string }) =>
      store.transaction((tx) => records.removeRecord(deps, tx, where)),

    /** When the tokens of each grant were last used. */
    lastUses: (ids: GrantId[]): Promise<Map<GrantId, number>> => store.tokens.lastUses(ids),

    tokenById: (id: TokenId): Promise<Token | undefined> => store.tokens.byId(id),
    owner: (id: UserId): Promise<Owner | undefined> => deps.loadOwner(id),
    subjectOf: (user: User, client: Client): string =>
      subjectOf(user, client.subjectMode, deps.keyring.derived('subject')),
    /** Every scope that a client may ask for. */
    async scopes(): Promise<Set<string>> {
      return new Set((await store.clients.all()).flatMap(({ scopes }) => scopes))
    },
  }
}
