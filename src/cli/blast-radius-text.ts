import type { BlastRadius } from '@mintmark/sdk'
import { answer, type JsonOption, minute } from './output.ts'
import { facts } from './table.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './text.ts'

const EFFECTS = {
  revoked: 'would be revoked for good',
  refused: 'would be refused while the owner is disabled',
  narrowed: 'would be left with less',
} as const

const SHOWN = 5

/** The answer of a dry run. */
export function answerBlastRadius(
  terminal: Terminal,
  { json }: JsonOption,
  radius: BlastRadius,
): void {
  answer(terminal, { json: json === true, document: radius, text: () => aboutBlastRadius(radius) })
}

/** What would be hit, for people. */
export function aboutBlastRadius(radius: BlastRadius): string {
  const { total, children, effect, kinds, states, owners, vias, use, callers } = radius
  if (total === 0) return 'No token would be hit.'
  const tokens = total === 1 ? '1 token' : `${total} tokens`
  const ofThem = children === 0 ? '' : `, ${children} of them families and children`
  return `${tokens} ${EFFECTS[effect]}${ofThem}:\n${facts([
    ['kinds', counted(kinds, kinds.length)],
    ['states', counted(states, states.length)],
    [
      'owners',
      counted(
        owners.map(({ id, username, count }) => ({ value: username ?? `${id} (deleted)`, count })),
        radius.ownerCount,
      ),
    ],
    ['made through', counted(vias, vias.length)],
    ['last used', use.lastAt === null ? 'never' : `${minute(use.lastAt)} UTC`],
    ['used in the last', `hour ${use.lastHour}, day ${use.lastDay}, 30 days ${use.last30Days}`],
    ['never used', String(use.never)],
    [
      'callers',
      callers.length === 0
        ? 'none'
        : counted(
            callers.map(({ ip, count }) => ({ value: ip, count })),
            radius.callerCount,
          ),
    ],
  ])}`
}

/** alice 12, bob 3, and 7 more */
function counted(items: readonly { value: string; count: number }[], all: number): string {
  const shown = items.slice(0, SHOWN).map(({ value, count }) => `${visible(value)} ${count}`)
  return [...shown, ...(all > shown.length ? [`and ${all - shown.length} more`] : [])].join(', ')
}
