import { readFileSync } from 'node:fs'
import type { NewTokenRule, PolicyEdit, PolicyEffect, PolicyTest } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { answer, type JsonOption, minute, orDash, tableOr } from '../output.ts'
import { createShare } from '../share.ts'
import type { Terminal } from '../terminal.ts'

interface TestOptions extends JsonOption {
  file?: string
}

/** Lines of each effect that people are shown; --json has more. */
const SHOWN = 10

export function testPolicy(policy: Command, terminal: Terminal): void {
  leaf(policy, 'test', {
    summary: 'Tell what a policy would do to the tokens there are',
    details:
      'Changes nothing. The file holds a list of rules, or what `policy show --json` prints; what it leaves out stays as it is. Without a file: what the policy in force does.',
    examples: [
      'mintmark policy test --file rules.json',
      "mintmark policy show --json | jq '.tokenRules[0].maxTtlSeconds = 86400' | mintmark policy test --file -",
    ],
  })
    .option('--file <path>', 'JSON file with the policy to try; - for stdin')
    .action(async ({ file, ...options }: TestOptions) => {
      const edit = file === undefined ? {} : editIn(file)
      const share = createShare(terminal, 'tokens')
      const document = await connect(terminal)
        .policy.test(edit, { onProgress: share.show })
        .finally(share.clear)
      answer(terminal, { ...options, document, text: () => textOf(terminal, document) })
    })
}

function editIn(file: string): PolicyEdit {
  const found = parsed(readIn(file), file)
  if (Array.isArray(found)) return { tokenRules: found as NewTokenRule[] }
  if (typeof found === 'object' && found !== null) return found
  throw wrongUsage(`${file} holds neither a list of rules nor a policy.`)
}

function readIn(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw wrongUsage(`${file} cannot be read: ${(error as Error).message}`)
  }
}

function parsed(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw wrongUsage(`${file} is not JSON.`)
  }
}

const SAYINGS: Record<PolicyEffect, string> = {
  ended: 'have ended by their age',
  ends_earlier: 'end earlier than they say',
  idle: 'have stood idle for too long',
  loses_roles: 'lose roles',
  loses_scopes: 'lose scopes',
  refused_address: 'were last used from an address that is not allowed',
  lacks_description: 'have no description and need one',
  rate_limited: 'are limited in how often they are used',
  revived: 'work again',
}

function textOf(terminal: Terminal, { total, effects }: PolicyTest): string {
  const looked = `${total} active tokens were looked at.`
  if (effects.length === 0) return `${looked} The policy does nothing to them.`
  const parts = effects.map(({ effect, count, newCount, tokens }) => {
    const shown = tokens.toSorted((a, b) => Number(b.isNew) - Number(a.isNew)).slice(0, SHOWN)
    const rows = tableOr(terminal, {
      rows: shown,
      empty: '',
      columns: [
        { title: 'ID', of: ({ id }) => id, whole: true },
        { title: 'KIND', of: ({ kind }) => kind, extra: true },
        { title: 'NAME', of: ({ name }) => orDash(name) },
        { title: 'OWNER', of: ({ owner }) => owner.username ?? owner.id },
        { title: 'RULE', of: ({ rule }) => rule ?? '(policy)' },
        { title: 'NEW', of: ({ isNew }) => (isNew ? 'yes' : 'no') },
        { title: 'AT', of: ({ at }) => (at === null ? '-' : minute(at)), extra: true },
        { title: 'CONCERNS', of: ({ values }) => orDash(values.join(' ')), extra: true },
      ],
    })
    const more = count > shown.length ? [`… and ${count - shown.length} more.`] : []
    return [`${count} ${SAYINGS[effect]}, ${newCount} of them anew:`, rows, ...more].join('\n')
  })
  return [looked, ...parts].join('\n\n')
}
