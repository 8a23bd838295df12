import { Type } from 'typebox'
import type { Policy as CorePolicy } from '../../core/policy/policy.ts'
import { callerOf } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { Nullable, problems } from './schemas.ts'

const tags = ['policy']
const Seconds = Type.Integer({ minimum: 0 })

export const Policy = Type.Object({
  usersMayCreateTokens: Type.Boolean({
    description: 'Whether non-admins may create, change, rotate and revoke tokens of their own',
  }),
  tokensMayMintChildren: Type.Boolean({
    description:
      'Whether a token may mint narrower ones, which die with it, without further rights',
  }),
  sessionTtlSeconds: Seconds,
  sessionIdleSeconds: Seconds,
  defaultTokenTtlSeconds: Nullable(Seconds),
  maxTokenTtlSeconds: Nullable(Seconds),
  lockoutEnabled: Type.Boolean(),
  lockoutAttempts: Type.Integer(),
  lockoutSeconds: Seconds,
  passwordTtlSeconds: Nullable(Seconds),
  passwordExpirationWarning: Type.Boolean(),
  retentionSeconds: Type.Integer({ description: 'How long ended tokens stay visible' }),
})

function policyOut(policy: CorePolicy) {
  return {
    ...policy,
    defaultTokenTtlSeconds: policy.defaultTokenTtlSeconds ?? null,
    maxTokenTtlSeconds: policy.maxTokenTtlSeconds ?? null,
    passwordTtlSeconds: policy.passwordTtlSeconds ?? null,
  }
}

export function policyRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/policy',
    { schema: { tags, summary: 'The policy in force', response: { 200: Policy, ...problems } } },
    async () => policyOut(core.policy()),
  )

  app.patch(
    '/policy',
    {
      schema: {
        tags,
        summary: 'Change the policy; null takes an optional limit away',
        body: Type.Partial(Policy, { additionalProperties: false }),
        response: { 200: Policy, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      return policyOut(await core.write((w) => w.updatePolicy({ caller, edit: request.body })))
    },
  )
}
