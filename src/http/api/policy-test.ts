import { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import {
  type EffectFigures,
  type PolicyTest as Found,
  POLICY_EFFECTS,
  type PolicyEffect,
  type PolicyTestStep,
} from '../../core/policy/test-policy.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instantOrNull } from './format.ts'
import { Edit, editOf } from './policy.ts'
import { Id, Instant, problems, TokenKind } from './schemas.ts'

const AffectedToken = Type.Object({
  id: Id,
  kind: TokenKind,
  name: Nullable(Type.String()),
  preview: Type.String(),
  owner: Type.Object({ id: Id, username: Nullable(Type.String()) }),
  rule: Nullable(Type.String({ description: 'Null: a setting of the policy itself' })),
  at: Nullable(Instant),
  values: Type.Array(Type.String(), { description: 'The roles, scopes or address concerned' }),
  isNew: Type.Boolean({ description: 'The policy in force does not do this' }),
})

export const PolicyTest = Type.Object({
  total: Type.Integer({ description: 'Active tokens that were looked at' }),
  effects: Type.Array(
    Type.Object({
      effect: Type.Enum([...POLICY_EFFECTS]),
      count: Type.Integer(),
      newCount: Type.Integer({ description: 'How many of them the policy in force spares' }),
      tokens: Type.Array(AffectedToken, { description: 'The first 100, newest first' }),
    }),
  ),
})

export function policyTestRoute(app: Scope, { core }: ApiParts): void {
  app.post(
    '/policy::test',
    {
      config: { weight: 'heavy' },
      schema: {
        tags: ['policy'],
        summary: 'What a policy would do to the tokens there are; changes nothing',
        description:
          'Takes what PATCH /policy takes; with nothing in it, tells what the policy in force does. Answers in JSON lines: how far it is, again and again, and in the last line what it found.',
        body: Edit,
        response: {
          200: {
            description: 'Lines of progress, then one with the result',
            content: { 'application/jsonl': { schema: Type.String() } },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const steps = await core.testPolicy(caller, await editOf(core, caller, request.body))
      reply.type('application/jsonl')
      // What is sent is text, for the document; Fastify takes it from a stream.
      return reply.send(
        Readable.from(linesOf(core, steps), { highWaterMark: 1 }) as unknown as string,
      )
    },
  )
}

async function* linesOf(core: Core, steps: AsyncGenerator<PolicyTestStep>): AsyncGenerator<string> {
  for await (const step of steps) {
    yield `${JSON.stringify('effects' in step ? await testOut(core, step) : step)}\n`
  }
}

async function testOut(core: Core, { total, effects }: Found) {
  const found = POLICY_EFFECTS.flatMap((effect): [PolicyEffect, EffectFigures][] => {
    const figures = effects.get(effect)
    return figures === undefined ? [] : [[effect, figures]]
  })
  const owners = found.flatMap(([, { tokens }]) => tokens.map(({ token }) => token.ownerId))
  const names = await core.usernames(owners)
  return {
    total,
    effects: found.map(([effect, { count, newCount, tokens }]) => ({
      effect,
      count,
      newCount,
      tokens: tokens.map(({ token, rule, atMs, values, isNew }) => ({
        id: token.id,
        kind: token.kind,
        name: token.name ?? null,
        preview: token.preview,
        owner: { id: token.ownerId, username: names.get(token.ownerId) ?? null },
        rule: rule ?? null,
        at: instantOrNull(atMs),
        values: [...values],
        isNew,
      })),
    })),
  }
}
