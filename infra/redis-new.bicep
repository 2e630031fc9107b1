// A new Azure Managed Redis that takes Entra tokens only.
//
// RediSearch decides the clustering policy. Microsoft's documents say that the Enterprise policy is the only one that
// RediSearch can be used with (https://learn.microsoft.com/azure/redis/architecture,
// https://learn.microsoft.com/azure/redis/plan-redis-modules). The resource provider's types would allow any policy.
// So: with RediSearch, EnterpriseCluster; without it, NoCluster, the one policy under which a stream and its hashes are
// always in one shard. NoCluster goes up to 25 GB.
//
// Under EnterpriseCluster a hash and the stream may be in different shards. If the hash's shard fails over before its
// replica has the hash, the acknowledged entry is gone. STORE_REPLICAS=1 closes that: nothing is acknowledged before the
// replica has the hash. There is no replica to wait for without high availability.
param name string
param location string
param tags object
param sku string
param search bool
param highAvailability bool
param isPrivate bool
param principalId string

resource cache 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: sku }
  properties: {
    minimumTlsVersion: '1.2'
    highAvailability: highAvailability ? 'Enabled' : 'Disabled'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: cache
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: search ? 'EnterpriseCluster' : 'NoCluster'
    evictionPolicy: 'NoEviction'
    accessKeysAuthentication: 'Disabled'
    modules: search ? [{ name: 'RediSearch' }] : []
    persistence: { aofEnabled: true, aofFrequency: '1s', rdbEnabled: false }
  }
}

// 'default' gives every command: a policy of one's own is a preview, and not to be had together with RediSearch.
resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = {
  parent: database
  name: replace(guid(database.id, principalId), '-', '')
  properties: {
    accessPolicyName: 'default'
    user: { objectId: principalId }
  }
}

output id string = cache.id
output host string = '${cache.properties.hostName}:10000'
output storeReplicas string = search && highAvailability ? '1' : 'auto'
