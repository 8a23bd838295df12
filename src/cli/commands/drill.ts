import { randomBytes, randomUUID } from 'node:crypto'
import type { Client } from '@mintmark/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { createBar } from '../bar.ts'
import { branch, leaf } from '../command.ts'
import { connect, connectTo } from '../connect.ts'
import { CliError, REFUSED } from '../failure.ts'
import { distribution, plot, summaryOf } from '../latencies.ts'
import { answer, type JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

/** Drill tokens end by themselves, should the drill be cut short. */
const TTL_SECONDS = 600
/** Tokens that are made, and verified on every node, before they are revoked one by one. */
const BATCH = 10

interface DrillOptions extends JsonOption {
  count: number
  nodes?: string[]
}

interface DrillNode {
  address: string
  client: Client
}

interface Found {
  latenciesMs: number[]
  /** Revocations that not all nodes had acknowledged in time. */
  notAcknowledged: number
  /** Questions after an acknowledged revocation. */
  asked: number
  staleYes: { tokenId: string; address: string }[]
}

export function drillCommands(program: Command, terminal: Terminal): void {
  const drill = branch(program, 'drill', 'Try promises on the live installation')
  leaf(drill, 'revoke', {
    summary: 'Revoke tokens made for it, and measure how fast every node knows',
    details:
      'Makes short-lived tokens without rights, verifies each on every node so that all of them remember it, revokes it, and asks every node again as soon as the answer says that all have acknowledged. Ends with status 1 when any node still says yes. Asks the server of MINTMARK_URL where the nodes are; --nodes says so where they are reached elsewhere. Needs an administrator’s token, and leaves two records per token in the audit trail.',
    examples: [
      'mintmark drill revoke',
      'mintmark drill revoke --count 100 --json',
      'mintmark drill revoke --nodes http://10.0.0.1:8080,http://10.0.0.2:8080',
    ],
  })
    .option('--count <number>', 'how many tokens', wholeNumber, 1000)
    .option('--nodes <urls>', 'addresses of all nodes, comma-separated', addresses)
    .action(async (options: DrillOptions) => {
      const client = connect(terminal)
      const nodes = await nodesOf(terminal, client, options.nodes)
      const { count } = options
      const bar = createBar(terminal, 'Stopped. The tokens of the drill end by themselves.')
      const onProgress = (done: number) =>
        bar.show({ share: done / count, text: `${done} of ${count} tokens revoked` })
      const found = await run({ terminal, client, nodes, count, onProgress }).finally(bar.clear)
      const document = {
        nodes: nodes.map(({ address }) => address),
        revocations: found.latenciesMs.length,
        notAcknowledged: found.notAcknowledged,
        questionsAfterwards: found.asked,
        staleYes: found.staleYes,
        latencyMs: summaryOf(found.latenciesMs),
        distribution: distribution(found.latenciesMs),
      }
      answer(terminal, { ...options, document, text: () => asText(found, nodes) })
      if (found.staleYes.length > 0) process.exitCode = REFUSED
    })
}

function wholeNumber(text: string): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (number > 0) return number
  throw new InvalidArgumentError('Say a number from 1 to 999999.')
}

function addresses(text: string): string[] {
  const urls = text.split(',').map((url) => url.trim())
  if (urls.every((url) => /^https?:\/\//.test(url))) return urls
  throw new InvalidArgumentError('Say addresses like http://10.0.0.1:8080,http://10.0.0.2:8080.')
}

async function nodesOf(
  terminal: Terminal,
  client: Client,
  given: string[] | undefined,
): Promise<DrillNode[]> {
  const known = (await client.nodes.list()).filter(({ state }) => state !== 'gone')
  const nameless = known.filter(({ address }) => address === null).length
  if (given === undefined && nameless > 0) {
    throw new CliError(
      'no_address',
      `${nameless} of ${known.length} nodes do not say where they are. Name all of them with --nodes.`,
    )
  }
  const urls = given ?? known.flatMap(({ address }) => address ?? [])
  return urls.map((address) => ({ address, client: connectTo(terminal, address) }))
}

async function run({
  terminal,
  client,
  nodes,
  count,
  onProgress,
}: {
  terminal: Terminal
  client: Client
  nodes: readonly DrillNode[]
  count: number
  onProgress: (done: number) => void
}): Promise<Found> {
  const found: Found = { latenciesMs: [], notAcknowledged: 0, asked: 0, staleYes: [] }
  const name = `drill ${randomBytes(4).toString('hex')}`
  for (let done = 0; done < count; done += BATCH) {
    const size = Math.min(BATCH, count - done)
    const tokens = await Promise.all(
      Array.from({ length: size }, (_, i) =>
        client.tokens.create(
          {
            name: `${name} ${done + i + 1}`,
            expiresAt: new Date(terminal.now() + TTL_SECONDS * 1000).toISOString(),
          },
          // A server that has too much to do is asked again.
          { idempotencyKey: randomUUID() },
        ),
      ),
    )
    for (const { id, secret } of tokens) {
      await warm(nodes, secret)
      const began = performance.now()
      const { acknowledged, nodes: all } = await client.tokens.revoke(id, { reason: 'drill' })
      found.latenciesMs.push(performance.now() - began)
      if (acknowledged < all) found.notAcknowledged++
      else await probe(found, { nodes, id, secret })
      onProgress(found.latenciesMs.length)
    }
  }
  return found
}

/** Afterwards every node remembers that the token is good. */
async function warm(nodes: readonly DrillNode[], secret: string): Promise<void> {
  for (const { address, client } of nodes) {
    const { active } = await client.tokens.verify({ token: secret })
    if (active) continue
    throw new CliError(
      'not_active',
      `${address} does not know a token that was just made. Is it a node of this installation?`,
    )
  }
}

async function probe(
  found: Found,
  { nodes, id, secret }: { nodes: readonly DrillNode[]; id: string; secret: string },
): Promise<void> {
  await Promise.all(
    nodes.map(async ({ address, client }) => {
      const { active } = await client.tokens.verify({ token: secret })
      found.asked++
      if (active) found.staleYes.push({ tokenId: id, address })
    }),
  )
}

function asText(found: Found, nodes: readonly DrillNode[]): string {
  const { latenciesMs, notAcknowledged, asked, staleYes } = found
  const where = nodes.length === 1 ? 'one node' : `${nodes.length} nodes`
  const worst = staleYes.slice(0, 10).map(({ tokenId, address }) => `  ${tokenId} at ${address}`)
  return [
    `${latenciesMs.length} revocations on ${where}, from the request to the acknowledgement of all:`,
    '',
    ...plot(latenciesMs),
    '',
    notAcknowledged === 0
      ? 'All were acknowledged by all nodes.'
      : `${notAcknowledged} were not acknowledged by all nodes in time.`,
    staleYes.length === 0
      ? `No stale yes in ${asked} questions after the acknowledgement.`
      : `${staleYes.length} STALE YES in ${asked} questions after the acknowledgement:`,
    ...worst.map(visible),
  ].join('\n')
}
