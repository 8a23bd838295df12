import { MintmarkError } from './error.ts'
import { type CallOptions, type ChangeOptions, path, type Send, type Stream } from './http.ts'
import type { Policy, PolicyEdit, PolicyTest, TokenRuleSettings } from './policy-types.ts'

export interface PolicyTestOptions extends CallOptions {
  /** Hears again and again how many tokens have been looked at. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** What the organisation decided. */
export function policy(send: Send, stream: Stream) {
  return {
    get(options: CallOptions = {}): Promise<Policy> {
      return send({ method: 'GET', path: '/policy', repeatable: true, ...options })
    },

    /** Changes what is named; null takes an optional limit away. */
    update(edit: PolicyEdit, options: ChangeOptions = {}): Promise<Policy> {
      return send({ method: 'PATCH', path: '/policy', body: edit, ...options })
    },

    /** Makes a rule about tokens, or replaces the one of that name. */
    setRule(
      name: string,
      settings: TokenRuleSettings,
      options: ChangeOptions = {},
    ): Promise<Policy> {
      const url = path`/policy/rules/${name}`
      return send({ method: 'PUT', path: url, body: settings, repeatable: true, ...options })
    },

    removeRule(name: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/policy/rules/${name}`, ...options })
    },

    /**
     * What the policy would do, after an edit, to the tokens there are; without one, what the policy in
     * force does. Changes nothing. Takes as long as there are tokens to read.
     */
    async test(
      edit: PolicyEdit = {},
      { onProgress, ...options }: PolicyTestOptions = {},
    ): Promise<PolicyTest> {
      const lines = linesOf(
        stream({ method: 'POST', path: '/policy:test', body: edit, ...options }),
      )
      for await (const line of lines) {
        const step = JSON.parse(line) as PolicyTest | { done: number; total: number }
        if ('effects' in step) return step
        onProgress?.(step)
      }
      throw new MintmarkError({
        status: 0,
        code: 'network_failed',
        detail: 'The answer was cut off.',
      })
    },
  }
}

async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
