import type * as sdk from '@mintmark/sdk'
import type { Static } from 'typebox'
import { expectTypeOf, it } from 'vitest'
import type { AuditEvent, Checkpoints } from '../../src/http/api/audit.ts'
import type { BlastRadius } from '../../src/http/api/blast-radius.ts'
import type { NewChild, NewSignedToken, SignedToken, Tree } from '../../src/http/api/children.ts'
import type * as clients from '../../src/http/api/clients.ts'
import type { Event } from '../../src/http/api/events.ts'
import type { ExplainAnswer, ExplainQuestion, Explanation } from '../../src/http/api/explain.ts'
import type { OAuthGrant } from '../../src/http/api/grants.ts'
import type { TokenCount, TokenStats } from '../../src/http/api/inventory.ts'
import type { BulkRequest, Job } from '../../src/http/api/jobs.ts'
import type { Key } from '../../src/http/api/keys.ts'
import type { LeakReceipt, LeakReport } from '../../src/http/api/leaks.ts'
import type { Node } from '../../src/http/api/nodes.ts'
import type { Edit, Policy, RuleSettings } from '../../src/http/api/policy.ts'
import type { PolicyTest } from '../../src/http/api/policy-test.ts'
import type { Rotation } from '../../src/http/api/rotation.ts'
import type * as wire from '../../src/http/api/schemas.ts'
import type { Me } from '../../src/http/api/session.ts'
import type { NewToken, Quarantine, Revocation } from '../../src/http/api/tokens.ts'
import type { UseFigures, UseSeries } from '../../src/http/api/use.ts'
import type { Answer, Answers, Question, Questions } from '../../src/http/api/verify.ts'
import type * as hooks from '../../src/http/api/webhooks.ts'

// Checked by `npm run types`: a field that only one side has does not compile.

it('what the API answers is what the SDK says', () => {
  expectTypeOf<Static<typeof wire.Token>>().toEqualTypeOf<sdk.Token>()
  expectTypeOf<Static<typeof wire.IssuedToken>>().toEqualTypeOf<sdk.IssuedToken>()
  expectTypeOf<Static<typeof wire.User>>().toEqualTypeOf<sdk.User>()
  expectTypeOf<Static<typeof wire.UserWithRights>>().toEqualTypeOf<sdk.UserWithRights>()
  expectTypeOf<Static<typeof wire.Group>>().toEqualTypeOf<sdk.Group>()
  expectTypeOf<Static<typeof wire.GroupGrant>>().toEqualTypeOf<sdk.GroupGrant>()
  expectTypeOf<Static<typeof wire.Member>>().toEqualTypeOf<sdk.Member>()
  expectTypeOf<Static<typeof wire.Role>>().toEqualTypeOf<sdk.Role>()
  expectTypeOf<Static<typeof Me>>().toEqualTypeOf<sdk.Me>()
  expectTypeOf<Static<typeof Key>>().toEqualTypeOf<sdk.Key>()
  expectTypeOf<Static<typeof Node>>().toEqualTypeOf<sdk.Node>()
  expectTypeOf<Static<typeof Policy>>().toEqualTypeOf<sdk.Policy>()
  expectTypeOf<Static<typeof PolicyTest>>().toEqualTypeOf<sdk.PolicyTest>()
  expectTypeOf<Static<typeof AuditEvent>>().toEqualTypeOf<sdk.AuditEvent>()
  expectTypeOf<Static<typeof Checkpoints>>().toEqualTypeOf<sdk.AuditCheckpoints>()
  expectTypeOf<Static<typeof TokenCount>>().toEqualTypeOf<sdk.TokenCount>()
  expectTypeOf<Static<typeof TokenStats>>().toEqualTypeOf<sdk.TokenStats>()
  expectTypeOf<Static<typeof UseSeries>>().toEqualTypeOf<sdk.UseSeries>()
  expectTypeOf<Static<typeof UseFigures>>().toExtend<sdk.UseFigures>()
  expectTypeOf<Static<typeof Rotation>>().toEqualTypeOf<sdk.Rotation>()
  expectTypeOf<Static<typeof Quarantine>>().toEqualTypeOf<sdk.Quarantine>()
  expectTypeOf<Static<typeof Event>>().toEqualTypeOf<sdk.Event>()
  expectTypeOf<Static<typeof hooks.Webhook>>().toEqualTypeOf<sdk.Webhook>()
  expectTypeOf<Static<typeof hooks.IssuedWebhook>>().toEqualTypeOf<sdk.IssuedWebhook>()
  expectTypeOf<Static<typeof hooks.DeliveryAttempt>>().toEqualTypeOf<sdk.DeliveryAttempt>()
  expectTypeOf<Static<typeof hooks.Delivery>>().toEqualTypeOf<sdk.Delivery>()
  expectTypeOf<
    Static<typeof hooks.DeliveryWithAttempts>
  >().toEqualTypeOf<sdk.DeliveryWithAttempts>()
  expectTypeOf<Static<typeof LeakReceipt>>().toEqualTypeOf<sdk.LeakReceipt>()
  expectTypeOf<Static<typeof Revocation>>().toEqualTypeOf<sdk.Revocation>()
  expectTypeOf<Static<typeof clients.OAuthClient>>().toEqualTypeOf<sdk.OAuthClient>()
  expectTypeOf<Static<typeof clients.IssuedClient>>().toEqualTypeOf<sdk.IssuedOAuthClient>()
  expectTypeOf<Static<typeof OAuthGrant>>().toEqualTypeOf<sdk.OAuthGrant>()
  expectTypeOf<Static<typeof Explanation>>().toEqualTypeOf<sdk.Explanation>()
  expectTypeOf<Static<typeof Job>>().toEqualTypeOf<sdk.Job>()
  expectTypeOf<Static<typeof BlastRadius>>().toEqualTypeOf<sdk.BlastRadius>()
  expectTypeOf<Static<typeof Tree>>().toEqualTypeOf<sdk.TokenTree>()
  expectTypeOf<Static<typeof SignedToken>>().toEqualTypeOf<sdk.SignedToken>()
  type TokenPage = ReturnType<typeof wire.pageOf<typeof wire.Token>>
  expectTypeOf<Static<TokenPage>>().toEqualTypeOf<sdk.Page<sdk.Token>>()
})

it('what the SDK asks is what the API takes', () => {
  expectTypeOf<Static<typeof NewToken>>().toEqualTypeOf<sdk.NewToken>()
  expectTypeOf<Omit<Static<typeof BulkRequest>, 'dry_run'>>().toEqualTypeOf<sdk.BulkWish>()
  expectTypeOf<Static<typeof NewChild>>().toEqualTypeOf<sdk.NewChild>()
  expectTypeOf<Static<typeof NewSignedToken>>().toEqualTypeOf<sdk.NewSignedToken>()
  expectTypeOf<Static<typeof clients.NewOAuthClient>>().toEqualTypeOf<sdk.NewOAuthClient>()
  expectTypeOf<Static<typeof clients.OAuthClientEdit>>().toEqualTypeOf<sdk.OAuthClientEdit>()
  expectTypeOf<Static<typeof Edit>>().toEqualTypeOf<sdk.PolicyEdit>()
  expectTypeOf<Static<typeof RuleSettings>>().toEqualTypeOf<sdk.TokenRuleSettings>()
  expectTypeOf<Static<typeof hooks.NewWebhook>>().toEqualTypeOf<sdk.NewWebhook>()
  expectTypeOf<Static<typeof hooks.WebhookEdit>>().toEqualTypeOf<sdk.WebhookEdit>()
  expectTypeOf<Static<typeof LeakReport>>().toEqualTypeOf<sdk.LeakReport>()
  expectTypeOf<Static<typeof Question>>().toEqualTypeOf<sdk.Question>()
  expectTypeOf<Static<typeof ExplainQuestion>>().toEqualTypeOf<sdk.ExplainQuestion>()
  type Asked = Parameters<sdk.Client['tokens']['verifyBatch']>[0]
  expectTypeOf<Static<typeof Questions>['questions']>().toExtend<Asked>()
})

it('a verdict is the flat answer, told apart by `active`', () => {
  type Facts = Required<
    Omit<Static<typeof Answer>, 'active' | 'reason' | 'retryAfterSeconds' | 'ancestors'>
  >
  expectTypeOf<Omit<sdk.ActiveVerdict, 'active' | 'ancestors'>>().toEqualTypeOf<Facts>()
  expectTypeOf<sdk.Verdict>().toExtend<Static<typeof Answer>>()
  expectTypeOf<sdk.ExplainedVerdict>().toExtend<Static<typeof ExplainAnswer>>()
  expectTypeOf<sdk.Verdict[]>().toExtend<Static<typeof Answers>['answers']>()
})
