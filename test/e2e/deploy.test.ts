import { execFile } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { BlockList } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it, onTestFinished, test } from 'vitest'
import { describeSettings } from '../../src/config/settings.ts'
import { type Config, ConfigError, readConfig } from '../../src/config.ts'
import { selfSigned } from '../support/certificate.ts'
import {
  dockerStages,
  imageEnvironment,
  readText,
  readYaml,
  repositoryPath,
} from '../support/deploy.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const run = promisify(execFile)

const SECRETS: Record<string, string> = {
  'database-url': 'postgres://mintmark:password@database.example.com:5432/mintmark',
  'master-key': 'a-master-key-of-at-least-32-characters',
  'bootstrap-password': 'a-long-password-for-the-first-admin',
}
/** Connections of PostgreSQL unless changed, less those kept for superusers. */
const CONNECTIONS = 97
/** Of a node, besides its pool: it listens, and a start migrates on one of its own. */
const CONNECTIONS_BESIDE = 2

/** The configuration that a container starts with; throws what the server would refuse. */
function configOf(env: Record<string, string>, { secretsDir }: { secretsDir: string }): Config {
  return readConfig({
    env: { ...imageEnvironment(), ...env },
    readFile(path) {
      const name = path.replace(`${secretsDir}/`, '').replaceAll('_', '-')
      const text = SECRETS[name]
      if (text === undefined) throw new Error(`${path} is not mounted`)
      return `${text}\n`
    },
  })
}

const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)?.[1])

/** Ranges of addresses. */
function inRange(range: string, address: string): boolean {
  const [network = '', prefix] = range.split('/')
  const list = new BlockList()
  list.addSubnet(network, Number(prefix))
  return list.check(address)
}

function isInstalled(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, command)))
}

let server: ServerProcess
beforeAll(async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-deploy-'))
  server = await startProcess({ dataDir })
  return async () => {
    await server.end('SIGTERM')
    rmSync(dataDir, { recursive: true, force: true })
  }
}, 60_000)

async function answers(path: string): Promise<number> {
  return (await fetch(`${server.url}${path}`)).status
}

test('every setting that a file for deployment names is one', () => {
  const known = new Set(describeSettings().map(({ name }) => name))
  // Of the command line.
  known.add('MINTMARK_URL').add('MINTMARK_TOKEN')
  const files = globSync('{Dockerfile,bin/health.mjs,deploy/**,docs/guide/deploy.md}', {
    cwd: repositoryPath('.'),
    exclude: ({ name }) => name === 'secrets',
    withFileTypes: true,
  }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(10)
  for (const { parentPath, name } of files) {
    const text = readFileSync(join(parentPath, name), 'utf8')
    for (const [setting] of text.matchAll(/\bMINTMARK_[A-Z0-9_]+/g)) {
      expect(known, `${name} names ${setting}`).toContain(setting.replace(/_FILE$/, ''))
    }
  }
})

describe('the image', () => {
  const last = dockerStages().at(-1) ?? []
  const rest = (word: string) => last.find((each) => each.word === word)?.rest ?? ''

  it('is built of files that are there and that .dockerignore lets in', () => {
    const allowed = readText('.dockerignore').match(/(?<=^!).+$/gm) ?? []
    const copied = dockerStages()
      .flat()
      .filter(({ word, rest }) => word === 'COPY' && !rest.startsWith('--from'))
      .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
    expect(copied).toContain('src')
    for (const path of copied) {
      expect(existsSync(repositoryPath(path)), path).toBe(true)
      expect(allowed).toContain(path.split('/')[0])
    }
  })

  it('runs on the Node that is required, as nobody in particular, without a shell', () => {
    const { engines } = JSON.parse(readText('package.json'))
    const [, major] = /NODE_IMAGE=node:(\d+)-slim/.exec(readText('Dockerfile')) ?? []
    expect(engines.node).toBe(`>=${major}`)
    expect(rest('USER')).toBe('1000:1000')
    for (const word of ['ENTRYPOINT', 'CMD']) expect(rest(word)).toMatch(/^\["/)
    expect(rest('ENTRYPOINT')).toContain('/app/bin/mintmark.mjs')
    expect(existsSync(repositoryPath('bin/health.mjs'))).toBe(true)
  })

  it('keeps what it writes on the volume, and listens where it says', () => {
    const config = configOf({}, { secretsDir: '/run/secrets' })
    expect(config.dataDir.startsWith(`${rest('VOLUME')}/`)).toBe(true)
    expect(config).toMatchObject({ host: '0.0.0.0', port: Number(rest('EXPOSE')) })
  })
})

describe('its health check', () => {
  const health = (env: Record<string, string>) =>
    run(process.execPath, [repositoryPath('bin/health.mjs')], { env })
  const portOf = (url: string) => ({ MINTMARK_PORT: new URL(url).port })

  it('succeeds while the server is ready, and fails when there is none', async () => {
    await health(portOf(server.url))
    await expect(health({ MINTMARK_PORT: '1' })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('does not answer'),
    })
  })

  it('asks a server with a certificate, too', async () => {
    const dir = temporaryDirectory()
    const { cert, key } = selfSigned()
    const env = { MINTMARK_TLS_CERT: cert, MINTMARK_TLS_KEY: key }
    const secure = await startProcess({ dataDir: join(dir, 'data'), env })
    onTestFinished(async () => {
      await secure.end('SIGTERM')
    })
    await health({ ...portOf(secure.url), ...env })
    await expect(health(portOf(secure.url))).rejects.toMatchObject({ code: 1 })
  })
})

describe('compose.yaml', () => {
  const compose = readYaml('deploy/compose.yaml')
  const nodes = Object.entries<Record<string, unknown>>(compose.services).filter(([name]) =>
    name.startsWith('node'),
  ) as [string, ReturnType<typeof readYaml>][]
  const caddyfile = readText('deploy/Caddyfile')

  /** `${NAME:-otherwise}` as Compose reads it without the name. */
  const filledIn = (env: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(env).map(([name, value]) => [name, value.replace(/\$\{\w+:-(.*?)\}/g, '$1')]),
    )

  it('gives each of three nodes settings that it starts with, and data of its own', () => {
    expect(nodes).toHaveLength(3)
    const volumes = nodes.map(([, { volumes }]) => volumes[0])
    expect(new Set(volumes).size).toBe(3)
    for (const [, node] of nodes) {
      const config = configOf(filledIn(node.environment), { secretsDir: '/run/secrets' })
      expect(config.database.kind).toBe('postgres')
      expect(config.metricsPublic).toBe(false)
      expect(seconds(node.stop_grace_period)).toBeGreaterThan(config.drainSeconds)
      expect(node).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
      expect(Object.keys(compose.volumes)).toContain(node.volumes[0].split(':')[0])
    }
  })

  it('mounts every secret that a service reads', () => {
    for (const [name, { environment, secrets = [] }] of Object.entries<ReturnType<typeof readYaml>>(
      compose.services,
    )) {
      const read = Object.values(environment ?? {})
        .map((value) => /^\/run\/secrets\/(.+)$/.exec(String(value))?.[1])
        .filter((secret) => secret !== undefined)
      expect(secrets.toSorted(), name).toEqual(read.toSorted())
      for (const secret of secrets) {
        expect(compose.secrets[secret]).toEqual({ file: `./secrets/${secret}` })
      }
    }
    expect(readText('.gitignore')).toContain('deploy/secrets/')
  })

  it('lets the proxy alone say whom it speaks for', () => {
    const [node] = nodes
    const proxies = String(node?.[1].environment.MINTMARK_TRUSTED_PROXIES)
    expect(proxies).toBe(compose.services.proxy.networks.inside.ipv4_address)
    const [{ subnet, ip_range }] = compose.networks.inside.ipam.config
    expect(inRange(subnet, proxies)).toBe(true)
    expect(inRange(ip_range, proxies)).toBe(false)
    expect(caddyfile).not.toContain('trusted_proxies')
  })

  it('asks every node behind the proxy for its readiness', async () => {
    const { port } = configOf({}, { secretsDir: '/run/secrets' })
    const upstreams = /reverse_proxy (.+) \{/.exec(caddyfile)?.[1]?.split(' ')
    expect(upstreams).toEqual(nodes.map(([name]) => `${name}:${port}`))
    expect(await answers(/health_uri (\S+)/.exec(caddyfile)?.[1] ?? '')).toBe(200)
    const config = configOf({}, { secretsDir: '/run/secrets' })
    const fails = Number(/health_fails (\d+)/.exec(caddyfile)?.[1])
    const interval = Number(/health_interval (\d+)s/.exec(caddyfile)?.[1])
    expect(fails * interval).toBeLessThan(config.drainSeconds / 2)
  })

  it('migrates before the nodes start, on a database that nobody else reaches', () => {
    const { migrate, database } = compose.services
    expect(migrate.command.slice(0, 2)).toEqual(['migrate', '--wait'])
    for (const [, node] of nodes) {
      expect(node.depends_on.migrate.condition).toBe('service_completed_successfully')
      expect(node.image).toBe(migrate.image)
    }
    expect(compose.networks.database).toEqual({ internal: true })
    expect(database.ports).toBeUndefined()
    const perNode = Number(nodes[0]?.[1].environment.MINTMARK_DATABASE_POOL) + CONNECTIONS_BESIDE
    expect(nodes.length * perNode).toBeLessThan(CONNECTIONS)
  })
})

describe('the Kubernetes manifests', () => {
  const folder = 'deploy/kubernetes'
  const manifest = (name: string) => readYaml(`${folder}/${name}.yaml`)
  const deployment = manifest('deployment')
  const job = manifest('migrate/job')
  const [container] = deployment.spec.template.spec.containers
  const pods = deployment.spec.template.metadata.labels
  const settings = manifest('config').data

  const environmentOf = ({ env }: { env: { name: string; value: string }[] }) =>
    Object.fromEntries(env.map(({ name, value }) => [name, value]))

  it('are all applied, with one image', () => {
    const { resources, images } = manifest('kustomization')
    const files = globSync(`${folder}/*.yaml`, { cwd: repositoryPath('.') })
      .map((path) => path.slice(folder.length + 1))
      .filter((name) => name !== 'kustomization.yaml')
    expect(resources.toSorted()).toEqual(files.toSorted())
    expect(manifest('migrate/kustomization').images).toEqual(images)
    expect(images[0].name).toBe(container.image)
    expect(images[0].newTag).toBe(JSON.parse(readText('package.json')).version)
    for (const name of resources) {
      const { kind, metadata } = readYaml(`${folder}/${name}`)
      expect(metadata.namespace, name).toBe(kind === 'Namespace' ? undefined : 'mintmark')
    }
  })

  it('give the server settings that it starts with', () => {
    const env = { ...settings, ...environmentOf(container) }
    const config = configOf(env, { secretsDir: '/etc/mintmark' })
    expect(config.database.kind).toBe('postgres')
    expect(container.ports).toEqual([{ name: 'http', containerPort: config.port }])
    expect(container.envFrom).toEqual([
      { configMapRef: { name: manifest('config').metadata.name } },
    ])
    expect(
      configOf(environmentOf(job.spec.template.spec.containers[0]), {
        secretsDir: '/etc/mintmark',
      }).database.kind,
    ).toBe('postgres')
  })

  it('keep out the variables that Kubernetes makes of a Service’s name, which no server starts with', () => {
    const { name } = manifest('service').metadata
    const env = { ...settings, [`${name.toUpperCase()}_PORT`]: 'tcp://10.0.0.1:80' }
    expect(() => configOf(env, { secretsDir: '' })).toThrow(ConfigError)
    for (const { spec } of [deployment, job]) {
      expect(spec.template.spec.enableServiceLinks).toBe(false)
    }
  })

  it('probe what answers', async () => {
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { path, port } = container[probe].httpGet
      expect(port).toBe('http')
      expect(await answers(path), probe).toBe(200)
    }
    expect(container.livenessProbe.httpGet.path).not.toBe(container.readinessProbe.httpGet.path)
  })

  it('leave a pod the time to pause and to drain', () => {
    const pause = container.lifecycle.preStop.sleep.seconds
    const drain = Number(settings.MINTMARK_DRAIN_SECONDS)
    const grace = deployment.spec.template.spec.terminationGracePeriodSeconds
    expect(grace).toBeGreaterThan(pause + drain)
  })

  it('never ask PostgreSQL for more connections than it has', () => {
    const mostPods =
      manifest('autoscaler').spec.maxReplicas + deployment.spec.strategy.rollingUpdate.maxSurge
    const perPod = Number(settings.MINTMARK_DATABASE_POOL) + CONNECTIONS_BESIDE
    expect(mostPods * perPod).toBeLessThan(CONNECTIONS)
    expect(deployment.spec.replicas).toBeUndefined()
  })

  it('mean the same pods', () => {
    expect(deployment.spec.selector.matchLabels).toEqual(pods)
    expect(manifest('service').spec.selector).toEqual(pods)
    expect(manifest('service').spec.ports[0].targetPort).toBe('http')
    expect(manifest('disruption-budget').spec.selector.matchLabels).toEqual(pods)
    expect(manifest('autoscaler').spec.scaleTargetRef.name).toBe(deployment.metadata.name)
    for (const { labelSelector } of deployment.spec.template.spec.topologySpreadConstraints) {
      expect(labelSelector.matchLabels).toEqual(pods)
    }
    const { podSelector, ingress } = manifest('network-policy').spec
    expect(pods).toMatchObject(podSelector.matchLabels)
    expect(job.spec.template.metadata.labels).toMatchObject(podSelector.matchLabels)
    expect(job.spec.template.metadata.labels).not.toEqual(pods)
    expect(ingress[0].ports).toEqual([{ protocol: 'TCP', port: container.ports[0].containerPort }])
    const [{ http }] = manifest('ingress').spec.rules
    expect(http.paths[0].backend.service.name).toBe(manifest('service').metadata.name)
  })

  it.each([
    ['deployment', deployment],
    ['job', job],
  ])('hold the %s to the restricted standard of pod security', (_, { spec }) => {
    const { securityContext, automountServiceAccountToken, containers, volumes } =
      spec.template.spec
    expect(securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(automountServiceAccountToken).toBe(false)
    for (const { securityContext, volumeMounts } of containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      const mounted = volumeMounts.map(({ name }: { name: string }) => name)
      expect(mounted).toEqual(volumes.map(({ name }: { name: string }) => name))
    }
  })
})

describe('mintmark.service', () => {
  const unit = readText('deploy/mintmark.service')
  const values = (key: string) =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value ?? '')

  it('starts the server with settings that it accepts, and gives it the time to drain', () => {
    const env = Object.fromEntries(
      values('Environment').map((pair) => pair.replace('%d', '/run/credentials').split('=')),
    )
    const credential = values('LoadCredential')[0]?.split(':')[0] ?? ''
    expect(env.MINTMARK_MASTER_KEY_FILE).toBe(`/run/credentials/${credential}`)
    const config = readConfig({ env, readFile: () => SECRETS[credential] ?? '' })
    expect(config.dataDir).toBe(`/var/lib/${values('StateDirectory')[0]}`)
    expect(Number(values('TimeoutStopSec')[0])).toBeGreaterThan(config.drainSeconds)
    expect(values('ExecStart')[0]).toMatch(/\/bin\/mintmark\.mjs serve$/)
  })

  it.skipIf(!isInstalled('systemd-analyze'))('is understood by systemd, line by line', async () => {
    const dir = temporaryDirectory()
    const copy = join(dir, 'mintmark.service')
    writeFileSync(copy, unit.replace('/usr/bin/node', process.execPath))
    const { stderr } = await run('systemd-analyze', ['verify', copy])
    expect(stderr).not.toContain('mintmark.service')
  })
})
