import { type Static, Type } from 'typebox'
import { can } from '../../core/access.ts'
import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import { type GroupId, isId } from '../../core/id.ts'
import type { PolicyEdit } from '../../core/policy/manage.ts'
import { type Policy as CorePolicy, LEAK_ACTIONS } from '../../core/policy/policy.ts'
import { CREATORS, LAX, MAX_RULES, type TokenRule } from '../../core/policy/rule.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { NoContent, problems, TokenKind } from './schemas.ts'

const tags = ['policy']
const Seconds = Type.Integer({ minimum: 0 })
const RuleName = Type.String({ minLength: 1, maxLength: 100 })
const Words = (maxLength: number) =>
  Nullable(Type.Array(Type.String({ minLength: 1, maxLength }), { maxItems: 200 }))

const settings = {
  description: Type.String({ maxLength: 2000 }),
  kinds: Nullable(
    Type.Array(TokenKind, { maxItems: 200, description: 'Tokens of these kinds; null: all' }),
  ),
  groups: {
    ...Words(150),
    description: 'Names or ids: tokens whose owner is a member of one; null: of everybody',
  },
  maxTtlSeconds: {
    ...Nullable(Seconds),
    description: 'Longest lifetime, counted from creation; binds existing tokens, too',
  },
  defaultTtlSeconds: {
    ...Nullable(Seconds),
    description: 'Lifetime of an api or service token whose creator names none',
  },
  idleSeconds: { ...Nullable(Seconds), description: 'Ends tokens that stand idle for so long' },
  requiresDescription: Type.Boolean(),
  allowedIps: { ...Words(64), description: 'Client addresses (CIDR) that may present them' },
  roles: { ...Words(63), description: 'Roles that they can have at most' },
  scopes: { ...Words(128), description: 'Scopes that they can have at most' },
  createdBy: Type.Enum([...CREATORS], {
    description: 'Who may create and rotate api and service tokens',
  }),
  rate: Nullable(
    Type.Object(
      { requests: Type.Integer(), windowSeconds: Seconds },
      {
        additionalProperties: false,
        description: 'Uses of each token: so many at once, and as many again over each window',
      },
    ),
  ),
  noticeSeconds: Type.Array(Seconds, {
    maxItems: 20,
    description: 'How long before the end people want to hear of it',
  }),
}

/** Null, and what is left out: the rule says nothing about it. */
const Rule = Type.Object(
  { name: RuleName, ...settings },
  {
    description:
      'What tokens must keep to. Of all rules that apply to a token, and of the policy itself, the strictest counts.',
  },
)

export const RuleSettings = Type.Partial(Type.Object(settings), { additionalProperties: false })

const NewRule = Type.Object(
  { name: RuleName, ...RuleSettings.properties },
  { additionalProperties: false },
)

const own = {
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
  maxTokenTtlSeconds: {
    ...Nullable(Seconds),
    description: 'Longest lifetime of api and service tokens; binds existing ones, too',
  },
  rotationOverlapSeconds: Type.Integer({
    minimum: 0,
    description: 'How long the old secret of a rotated token goes on when nobody says otherwise',
  }),
  lockoutEnabled: Type.Boolean(),
  lockoutAttempts: Type.Integer(),
  lockoutSeconds: Seconds,
  passwordTtlSeconds: Nullable(Seconds),
  passwordExpirationWarning: Type.Boolean(),
  retentionSeconds: Type.Integer({ description: 'How long ended tokens stay visible' }),
  useMinutesSeconds: Type.Integer({ description: 'How long use is kept by minute' }),
  useHoursSeconds: Type.Integer({ description: 'Then by hour' }),
  useDaysSeconds: Type.Integer({ description: 'Then by day' }),
  noticeSeconds: Type.Array(Type.Integer(), {
    description: 'How long before its end a `token.expiring` event tells of a token',
    maxItems: 10,
  }),
  leakAction: Type.Enum([...LEAK_ACTIONS], {
    description: 'What becomes of a token whose secret is reported as leaked',
  }),
}

export const Policy = Type.Object({ ...own, tokenRules: Type.Array(Rule) })

export const Edit = Type.Partial(
  Type.Object({ ...own, tokenRules: Type.Array(NewRule, { maxItems: MAX_RULES }) }),
  { additionalProperties: false },
)

const ruleParams = Type.Object({ name: RuleName })

export function policyRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/policy',
    { schema: { tags, summary: 'The policy in force', response: { 200: Policy, ...problems } } },
    async (request) => policyOut(core, callerOf(request), core.policy()),
  )

  app.patch(
    '/policy',
    {
      schema: {
        tags,
        summary: 'Change the policy; null takes an optional limit away',
        description: '`tokenRules` replaces all rules; single ones have routes of their own.',
        body: Edit,
        response: { 200: Policy, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const edit = await editOf(core, caller, request.body)
      return policyOut(core, caller, await core.write((w) => w.updatePolicy({ caller, edit })))
    },
  )

  app.put(
    '/policy/rules/:name',
    {
      schema: {
        tags,
        summary: 'Make a rule about tokens, or replace the one of that name',
        params: ruleParams,
        body: RuleSettings,
        response: { 200: Policy, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const wish = { name: request.params.name, ...request.body }
      const rule = await ruleOf(core, caller, wish)
      return policyOut(core, caller, await core.write((w) => w.setTokenRule({ caller, rule })))
    },
  )

  app.delete(
    '/policy/rules/:name',
    {
      schema: {
        tags,
        summary: 'Remove a rule about tokens',
        params: ruleParams,
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      await core.write((w) => w.removeTokenRule({ caller: callerOf(request), name }))
      return reply.code(204).send(null)
    },
  )
}

/** Groups that the caller may not see keep their names to themselves. */
async function policyOut(core: Core, { principal }: Caller, policy: CorePolicy) {
  const namesGroups = policy.tokenRules.some(({ groups }) => groups !== null)
  const all = namesGroups ? await core.groupNames() : new Map<GroupId, string>()
  const isSeen = (id: GroupId) => can(principal, 'group.read', { what: { id }, policy })
  const names = new Map([...all].filter(([id]) => isSeen(id)))
  return {
    ...policy,
    noticeSeconds: [...policy.noticeSeconds],
    defaultTokenTtlSeconds: policy.defaultTokenTtlSeconds ?? null,
    maxTokenTtlSeconds: policy.maxTokenTtlSeconds ?? null,
    passwordTtlSeconds: policy.passwordTtlSeconds ?? null,
    tokenRules: policy.tokenRules.map((rule) => ruleOut(rule, names)),
  }
}

function ruleOut(rule: TokenRule, names: ReadonlyMap<GroupId, string>): Static<typeof Rule> {
  const listed = <T>(values: readonly T[] | null) => (values === null ? null : [...values])
  return {
    ...rule,
    kinds: listed(rule.kinds),
    groups: rule.groups?.map((id) => names.get(id) ?? id) ?? null,
    allowedIps: listed(rule.allowedIps),
    roles: listed(rule.roles),
    scopes: listed(rule.scopes),
    noticeSeconds: [...rule.noticeSeconds],
  }
}

/** With groups by id. Throws `invalid_input`. */
export async function editOf(
  core: Core,
  caller: Caller,
  { tokenRules, ...own }: Static<typeof Edit>,
): Promise<PolicyEdit> {
  if (tokenRules === undefined) return own
  const rules: TokenRule[] = []
  for (const rule of tokenRules) rules.push(await ruleOf(core, caller, rule))
  return { ...own, tokenRules: rules }
}

async function ruleOf(
  core: Core,
  caller: Caller,
  { groups, ...rule }: Static<typeof NewRule>,
): Promise<TokenRule> {
  const ids: GroupId[] = []
  for (const group of groups ?? []) ids.push(await groupIdOf(core, caller, group))
  return { ...LAX, ...rule, groups: groups === undefined || groups === null ? null : ids }
}

async function groupIdOf(core: Core, caller: Caller, group: string): Promise<GroupId> {
  if (isId(group)) return group as GroupId
  try {
    return (await core.read.groupByName(caller, group)).id
  } catch (error) {
    if (!(error instanceof CoreError) || error.code !== 'not_found') throw error
    throw new CoreError('invalid_input', `There is no group "${group}".`)
  }
}
