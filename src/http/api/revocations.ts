import { Type } from 'typebox'
import { CoreError } from '../../core/errors.ts'
import type { Revocations } from '../../core/revocations/feed.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { problems } from './schemas.ts'

const MAX_WAIT_SECONDS = 30
/** Requests that wait at once; whoever comes then is answered at once. */
const MAX_WAITING = 2000

/** What ends signed tokens before their time, for whoever checks them. Names nobody. */
export function revocationRoutes(app: Scope, { core, tokenJwts }: ApiParts): void {
  const waiting = new Set<() => void>()
  const wakeAll = () => {
    for (const wake of [...waiting]) wake()
  }
  let isClosing = false
  core.onChange(wakeAll)
  app.addHook('preClose', async () => {
    isClosing = true
    wakeAll()
  })

  /** Signed once for all who were given the same reading and ask from the same place. */
  const signed = new WeakMap<Revocations, Promise<string>>()
  const sign = (statement: Revocations) => {
    const known = signed.get(statement)
    if (known !== undefined) return known
    const signing = tokenJwts.signStatement(statement)
    signed.set(statement, signing)
    return signing
  }

  /** The next statement with news in it, or the one after the time to wait. */
  async function next(since: string | undefined, waitMs: number): Promise<Revocations> {
    const untilMs = performance.now() + waitMs
    for (;;) {
      const change = nextChange()
      try {
        const statement = await core.revocations.read(since)
        const hasNews = statement.full || statement.ended.size > 0 || statement.everything > 0
        const restMs = untilMs - performance.now()
        if (hasNews || restMs <= 0 || isClosing || waiting.size > MAX_WAITING) return statement
        await change.within(restMs)
      } finally {
        change.forget()
      }
    }
  }

  /** Listens from now on, so that no change falls between reading the log and waiting. */
  function nextChange() {
    const { promise, resolve } = Promise.withResolvers<void>()
    let timer: NodeJS.Timeout | undefined
    waiting.add(resolve)
    return {
      within(ms: number) {
        timer = setTimeout(resolve, ms)
        return promise
      },
      forget() {
        clearTimeout(timer)
        waiting.delete(resolve)
      },
    }
  }

  app.get(
    '/revocations',
    {
      // What services without us learn of revocations by; long polls are bounded of their own.
      config: { public: true, weight: 'vital' },
      schema: {
        tags: ['tokens'],
        security: [],
        summary: 'What ended signed tokens before their time, as a signed statement',
        description:
          'A JWT typed `revocations+jwt`: `ended` has digests of tokens, users and groups, each with the change before which what was signed and names it is over; `everything`, if not 0, is such a change for all. `as_of` is when that was true, in epoch milliseconds. `next` goes into `since` of the next request; without `since`, or when that is too old, the statement is `full`. With `wait` the answer comes when there is news, or after so many seconds. docs/guide/delegation.md says how to use it.',
        querystring: Type.Object(
          {
            since: Type.Optional(Type.String({ maxLength: 40 })),
            wait: Type.Optional(
              Type.String({ pattern: '^[0-9]{1,2}$', description: 'Seconds, 30 at most' }),
            ),
          },
          { additionalProperties: false },
        ),
        response: {
          200: {
            description: 'The statement',
            content: { 'application/jwt': { schema: Type.String() } },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const { since, wait = '0' } = request.query
      const waitSeconds = Number(wait)
      if (waitSeconds > MAX_WAIT_SECONDS) {
        throw new CoreError('invalid_input', `wait is ${MAX_WAIT_SECONDS} seconds at most.`)
      }
      const statement = await next(since, waitSeconds * 1000)
      return reply.type('application/jwt').send(await sign(statement))
    },
  )
}
