import { setTimeout as sleep } from 'node:timers/promises'
import { type Event, type EventFilter, type EventType, MintmarkError } from '@mintmark/sdk'
import type { Command } from 'commander'
import { branch, leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { tokenId } from '../names.ts'
import { type JsonOption, orDash } from '../output.ts'
import { note, type Terminal } from '../terminal.ts'
import { jsonLine, visible } from '../text.ts'

const RECONNECT_MS = 2000
/** A server that is away for a night must not fill the terminal. */
const TELL_MS = 60_000

interface FilterOptions {
  type?: string[]
  token?: string
}

export function eventCommands(program: Command, terminal: Terminal): void {
  const event = branch(program, 'event', 'See what happens to tokens')
  listEvents(event, terminal)
  followEvents(event, terminal)
}

function filtered(command: Command): Command {
  return command
    .option('--type <type>', 'only this, such as token.expiring; repeat for more', repeated)
    .option('--token <id>', 'only what happened to this token')
}

function filterOf({ type, token }: FilterOptions): EventFilter {
  return {
    // The server says which there are.
    ...(type === undefined ? {} : { types: type as EventType[] }),
    ...(token === undefined ? {} : { tokenId: tokenId(token) }),
  }
}

function listEvents(event: Command, terminal: Terminal): void {
  const command = leaf(event, 'list', {
    summary: 'List what happened to tokens, newest first; times are UTC',
    details:
      'Events are kept for 30 days. Admins see all, others what happened to their own tokens.',
    examples: ['mintmark event list --type token.leaked --type token.quarantine_used'],
  })
  paged(filtered(command)).action(async (options: ListOptions & FilterOptions) => {
    const { events } = connect(terminal)
    const filter = filterOf(options)
    await printList(terminal, options, {
      list: (page) => events.list({ ...page, ...filter }),
      empty: 'No events match.',
      columns: [
        { title: 'ID', of: ({ id }) => id, whole: true },
        { title: 'AT', of: ({ timestamp }) => secondOf(timestamp), whole: true },
        { title: 'EVENT', of: ({ type }) => type, whole: true },
        { title: 'TOKEN', of: ({ data }) => orDash(data.token?.name ?? data.token?.id) },
        { title: 'ACTOR', of: ({ data }) => orDash(data.actor?.username) },
        { title: 'DETAILS', of: detailsOf },
        { title: 'TOKEN ID', of: ({ data }) => orDash(data.token?.id), whole: true, extra: true },
      ],
    })
  })
}

interface FollowOptions extends FilterOptions, JsonOption {
  after?: string
}

function followEvents(event: Command, terminal: Terminal): void {
  const command = leaf(event, 'follow', {
    summary: 'Print what happens to tokens as it happens, until Ctrl-C',
    details:
      'Connects again by itself and goes on where it stopped. With --json each event is a JSON object on a line of its own. Ends with status 1 when the token in use may not look any more.',
    examples: [
      'mintmark event follow',
      'mintmark event follow --type token.leaked --json | while read -r line; do notify "$line"; done',
    ],
  }).option('--after <id>', 'begin after this event instead of now')
  filtered(command).action(async (options: FollowOptions) => {
    const { events } = connect(terminal)
    const filter = filterOf(options)
    let lastEventId = options.after
    let toldAtMs = 0
    if (options.json !== true) note(terminal, 'Listening. Ctrl-C stops.')
    for (;;) {
      try {
        const from = lastEventId === undefined ? {} : { lastEventId }
        for await (const each of events.follow({ ...filter, ...from })) {
          lastEventId = each.id
          terminal.stdout.write(`${options.json === true ? jsonLine(each) : lineOf(each)}\n`)
        }
      } catch (error) {
        if (!(error instanceof MintmarkError) || !mayPass(error)) throw error
        const isNews = terminal.now() - toldAtMs >= TELL_MS
        if (isNews && options.json !== true) {
          note(terminal, `${visible(error.detail)} Trying again, until Ctrl-C.`)
          toldAtMs = terminal.now()
        }
      }
      await sleep(RECONNECT_MS)
    }
  })
}

function mayPass({ status, code }: MintmarkError): boolean {
  return code === 'network_failed' || status === 429 || status >= 500
}

function lineOf(event: Event): string {
  const { token } = event.data
  const parts = [secondOf(event.timestamp), event.type, token?.name ?? token?.id, detailsOf(event)]
  return visible(parts.filter((part) => part !== undefined && part !== '').join('  '))
}

function secondOf(timestamp: string): string {
  return timestamp.slice(0, 19).replace('T', ' ')
}

function detailsOf({ data }: Event): string {
  return Object.entries(data.details)
    .filter(([, value]) => value !== '' && value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ')
}
