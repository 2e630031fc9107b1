// Everything that reclaim needs on Azure, in a resource group of its own. docs/deploy.md explains the parameters.
targetScope = 'subscription'

@description('The name of this deployment: of the azd environment.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('The Azure region of everything.')
@metadata({ azd: { type: 'location' } })
param location string

@description('flex: Flex Consumption. classic: the older Linux Consumption plan (Y1), which Azure retires on 2028-09-30.')
@allowed(['flex', 'classic'])
param plan string = 'flex'

@description('The Python version on Flex Consumption. The classic plan always has 3.12, the last one that it knows.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of an instance on Flex Consumption, MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('How many instances there may be. The timer and the dashboard run in instances of their own: at least 2.')
@minValue(2)
@maxValue(1000)
param maximumInstances int = 10

@description('How many instances of the timer are kept ready on Flex Consumption, so that no run begins cold. They cost money all the time.')
@minValue(0)
param alwaysReadyInstances int = 0

@description('The stream.')
param streamName string

@description('The consumer group of the stream.')
param groupName string

@description('Several streams: an object whose member "targets" is the list for RECLAIM_TARGETS. streamName and groupName then say nothing.')
@secure()
param targets object = {}

@description('Where an entry is stored: a template such as tweet:{id}.')
param hashKey string = 'tweet:{id}'

@description('When runs begin, in UTC: six-field NCRONTAB.')
param schedule string = '*/20 * * * * *'

@description('Whether the timer passes targets with work on to other instances, through a storage queue (docs/scale.md).')
param fanOut bool = false

@description('Any other settings of reclaim, by name, as texts. No secrets: they would be kept in the clear.')
param settings object = {}

@description('new: an Azure Managed Redis is made. existingManaged, existingClassic: redisName is used. other: any server, by redisHost.')
@allowed(['new', 'existingManaged', 'existingClassic', 'other'])
param redis string = 'new'

@description('The name of the existing cache.')
param redisName string = ''

@description('The resource group of the existing cache.')
param redisResourceGroup string = ''

@description('host or host:port of another server; its TLS port is 6380 if no port is given.')
param redisHost string = ''

@description('The size of a new Azure Managed Redis.')
param redisSku string = 'Balanced_B0'

@description('Whether a new Azure Managed Redis has RediSearch, for an index over the hashes. It decides the clustering policy.')
param redisSearch bool = true

@description('Whether a new Azure Managed Redis has a replica. It cannot be switched off later.')
param redisHighAvailability bool = true

@description('The password of a cache that takes no Entra tokens. Without it the app signs in with its managed identity.')
@secure()
param redisPassword string = ''

@description('Whether the app and a new Azure Managed Redis are in a virtual network, with a private endpoint. Not on the classic plan.')
param network bool = false

@description('A subnet for the app, delegated to Microsoft.App/environments, if it is to be in a network of yours.')
param appSubnetId string = ''

@description('Who gets an e-mail when an alert fires. Empty: nobody; the alerts are in the portal.')
param alertEmail string = ''

@description('Whether an Event Grid topic takes reclaim\'s own events.')
param eventGrid bool = false

@description('Where reclaim POSTs its events instead: a Logic App or any webhook.')
@secure()
param alertWebhookUrl string = ''

@description('The key that reclaim sends with each event.')
@secure()
param alertWebhookKey string = ''

@description('With HANDLER=http: where each entry is POSTed.')
@secure()
param httpUrl string = ''

@description('With HANDLER=http: headers of each request, as a JSON object.')
@secure()
param httpHeaders string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var appName = 'func-reclaim-${token}'
var withNetwork = network && plan == 'flex'
var withEntra = empty(redisPassword)

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: { name: 'id-reclaim-${token}', location: location, tags: tags }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: { token: token, location: location, tags: tags, principalId: identity.outputs.principalId }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    withQueue: fanOut || contains(settings, 'FAN_OUT')
    allowKeys: plan == 'classic'
  }
}

module vault 'vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    targets: empty(targets) ? '' : string(targets.targets)
    redisPassword: redisPassword
    // The topic's own, if there is one.
    alertWebhookUrl: eventGrid ? '' : alertWebhookUrl
    alertWebhookKey: eventGrid ? '' : alertWebhookKey
    httpUrl: httpUrl
    httpHeaders: httpHeaders
  }
}

module topic 'event-grid.bicep' = if (eventGrid) {
  name: 'event-grid'
  scope: group
  params: { name: 'evgt-reclaim-${token}', location: location, tags: tags, vaultName: vault.outputs.name }
}

module net 'network.bicep' = if (withNetwork) {
  name: 'network'
  scope: group
  params: { name: 'vnet-reclaim-${token}', location: location, tags: tags }
}

// --- Redis -----------------------------------------------------------------------------------------------------------

module newRedis 'redis-new.bicep' = if (redis == 'new') {
  name: 'redis-new'
  scope: group
  params: {
    name: 'amr-${token}'
    location: location
    tags: tags
    sku: redisSku
    search: redisSearch
    highAvailability: redisHighAvailability
    isPrivate: withNetwork
    principalId: identity.outputs.principalId
  }
}

module redisEndpoint 'redis-endpoint.bicep' = if (redis == 'new' && withNetwork) {
  name: 'redis-endpoint'
  scope: group
  params: {
    name: 'pe-redis-${token}'
    location: location
    tags: tags
    redisId: newRedis!.outputs.id
    networkId: net!.outputs.id
    subnetId: net!.outputs.endpointSubnetId
  }
}

module managedRedis 'redis-existing-managed.bicep' = if (redis == 'existingManaged') {
  name: 'redis-existing-managed-${token}'
  scope: resourceGroup(empty(redisResourceGroup) ? group.name : redisResourceGroup)
  params: { name: redisName, principalId: withEntra ? identity.outputs.principalId : '' }
}

module classicRedis 'redis-existing-classic.bicep' = if (redis == 'existingClassic') {
  name: 'redis-existing-classic-${token}'
  scope: resourceGroup(empty(redisResourceGroup) ? group.name : redisResourceGroup)
  params: {
    name: redisName
    principalId: withEntra ? identity.outputs.principalId : ''
    streamName: streamName
    hashKey: hashKey
    forwardStream: settings.?FORWARD_STREAM ?? ''
  }
}

var redisSettings = redis == 'new'
  ? {
      REDIS_HOST: newRedis!.outputs.host
      REDIS_CLUSTER: 'false'
      STORE_REPLICAS: newRedis!.outputs.storeReplicas
    }
  : redis == 'existingManaged'
      ? {
          REDIS_HOST: managedRedis!.outputs.host
          REDIS_CLUSTER: managedRedis!.outputs.cluster
          STORE_REPLICAS: managedRedis!.outputs.storeReplicas
        }
      : redis == 'existingClassic'
          ? {
              REDIS_HOST: classicRedis!.outputs.host
              REDIS_CLUSTER: classicRedis!.outputs.cluster
            }
          : { REDIS_HOST: redisHost }

// --- the app ---------------------------------------------------------------------------------------------------------

// A Key Vault reference without a version: the app takes up a new version of the secret by itself, within a day.
var secret = '@Microsoft.KeyVault(VaultName=${vault.outputs.name};SecretName='
var withWebhook = eventGrid || !empty(alertWebhookUrl)
var withWebhookKey = eventGrid || !empty(alertWebhookKey)

var appSettings = union(
  {
    STREAM_NAME: streamName
    STREAM_CONSUMER_GROUP_NAME: groupName
    HASH_KEY: hashKey
    RECLAIM_SCHEDULE: schedule
    REDIS_ENTRA_CLIENT_ID: identity.outputs.clientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  },
  redisSettings,
  withEntra
    ? { REDIS_AUTH: 'entra' }
    : { REDIS_AUTH: 'password', REDIS_PASSWORD: '${secret}redis-password)' },
  fanOut ? { FAN_OUT: 'queue' } : {},
  empty(targets) ? {} : { RECLAIM_TARGETS: '${secret}reclaim-targets)' },
  withWebhook ? { ALERT_WEBHOOK_URL: '${secret}alert-webhook-url)' } : {},
  withWebhookKey ? { ALERT_WEBHOOK_KEY: '${secret}alert-webhook-key)' } : {},
  empty(httpUrl) ? {} : { HTTP_URL: '${secret}http-url)' },
  empty(httpHeaders) ? {} : { HTTP_HEADERS: '${secret}http-headers)' },
  settings
)

module flexApp 'app-flex.bicep' = if (plan == 'flex') {
  name: 'app-flex'
  scope: group
  params: {
    name: appName
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    container: storage.outputs.container
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    subnetId: withNetwork ? net!.outputs.appSubnetId : appSubnetId
    settings: appSettings
  }
  dependsOn: [topic, redisEndpoint]
}

module classicApp 'app-classic.bicep' = if (plan == 'classic') {
  name: 'app-classic'
  scope: group
  params: {
    name: appName
    location: location
    tags: tags
    identityId: identity.outputs.id
    storageName: storage.outputs.name
    maximumInstances: maximumInstances
    settings: appSettings
  }
  dependsOn: [topic]
}

var dashboard = 'https://${plan == 'flex' ? flexApp!.outputs.host : classicApp!.outputs.host}/api/dashboard'

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    componentId: monitoring.outputs.componentId
    email: alertEmail
    dashboard: dashboard
  }
}

module workbook 'workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: { location: location, tags: tags, componentId: monitoring.outputs.componentId, dashboard: dashboard }
}

output AZURE_LOCATION string = location
output RECLAIM_RESOURCE_GROUP string = group.name
output RECLAIM_APP string = appName
output RECLAIM_DASHBOARD string = dashboard
output RECLAIM_REDIS_HOST string = redisSettings.REDIS_HOST
